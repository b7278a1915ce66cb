package price_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/price"
)

func TestEstimate(t *testing.T) {
	t.Parallel()
	table, err := price.Parse([]byte(`{"currency":"USD","whatsapp":{"LK":"0.0455","IN":"0.01","*":"0.1"},"sms":{"LK":"0.2761"}}`))
	require.NoError(t, err)
	require.False(t, table.IsZero())

	require.Equal(t, price.Estimate{Currency: "USD", Amount: "4.6800", Priced: 104},
		table.Estimate(message.WhatsApp, map[string]int{"LK": 100, "IN": 3, "US": 1, "GB": 0}), "others have the price of *")
	require.Equal(t, price.Estimate{Currency: "USD", Amount: "0.5522", Priced: 2, Unpriced: 4, Unknown: []string{"", "US"}},
		table.Estimate(message.SMS, map[string]int{"LK": 2, "US": 3, "": 1}))
	require.Equal(t, price.Estimate{Currency: "USD", Unpriced: 3, Unknown: []string{"US"}}, table.Estimate(message.SMS, map[string]int{"US": 3}))
	require.Equal(t, price.Estimate{Unpriced: 3, Unknown: []string{"US"}}, price.Table{}.Estimate(message.SMS, map[string]int{"US": 3}))
	require.True(t, price.Table{}.IsZero())
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		``:                                       "price table",
		`{"currency":"USD"} {}`:                  "more after",
		`{"currency":"usd"}`:                     "three capital letters",
		`{"currency":"USD","viber":{}}`:          "viber",
		`{"currency":"USD","sms":{"lk":"1"}}`:    "sms.lk must be a country",
		`{"currency":"USD","sms":{"LK":"-1"}}`:   `sms.LK must be an amount`,
		`{"currency":"USD","sms":{"LK":"1/3"}}`:  `sms.LK must be an amount`,
		`{"currency":"USD","sms":{"LK":0.0455}}`: "price table",
	} {
		_, err := price.Parse([]byte(raw))
		require.ErrorContains(t, err, want, raw)
	}
}
