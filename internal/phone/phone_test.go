package phone_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		input, region string
		want          phone.Number
	}{
		{"+94771234576", "", "+94771234576"},
		{"+94771234576", "US", "+94771234576"},
		{"whatsapp:+94771234577", "", "+94771234577"},
		{"WhatsApp:+94771234577", "", "+94771234577"},
		{"SMS:+94771234577", "", "+94771234577"},
		{"whatsapp: 94771234577", "", "+94771234577"}, // '+' decoded as a space
		{"whatsapp:94771234577", "", "+94771234577"},
		{"whatsapp: 94771234577", "LK", "+94771234577"},
		{" whatsapp:+94771234577 ", "", "+94771234577"},
		{" 94771234577", "", "+94771234577"},
		{"+94 (77) 123-45.77", "", "+94771234577"},
		{"+44 (0)20 7946 0018", "", "+442079460018"},
		{"0094 77 123 4577", "", "+94771234577"},
		{"0094771234577", "US", "+94771234577"},
		{"077 123 4577", "LK", "+94771234577"},
		{" 077 123 4577", "LK", "+94771234577"},
		{"94771234577", "LK", "+94771234577"},
		{"(415) 523-8886", "US", "+14155238886"},
		{"02 1234 5678", "IT", "+390212345678"},
		{"+39 02 1234 5678", "", "+390212345678"},                          // the leading zero belongs to the number
		{"\u202a+94\u00a077\u2011123\u20134577\u202c", "", "+94771234577"}, // as copied from an address book
		{"+94771234577", "", "+94771234577"},                               // full-width digits
		{"+1 415 555 0100", "", "+14155550100"},                            // possible, never assigned
		{"+15005550006", "", "+15005550006"},
	}
	for _, tt := range tests {
		got, err := phone.Parse(tt.input, tt.region)
		require.NoError(t, err, "%q in %q", tt.input, tt.region)
		require.Equal(t, tt.want, got, "%q in %q", tt.input, tt.region)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ input, region string }{
		{"", ""},
		{"", "LK"},
		{"whatsapp:", ""},
		{"+", ""},
		{"00", ""},
		{"0771234577", ""}, // national, but of which country?
		{"771234577", ""},
		{"+12", ""},
		{"+9477123457712345", ""},
		{"+0094771234577", ""},
		{"+999771234577", ""},
		{"++94771234577", ""},
		{"+94+771234577", ""},
		{"+1 800 FLOWERS", ""},
		{"+94771234577 ext. 5", ""},
		{"+94771234577;ext=5", ""},
		{"tel:+94771234577", ""},
		{"messenger:+94771234577", ""},
		{"+94771234577\x00", ""},
		{"+94771234577\n", ""},
		{"+9477123457\u0667", ""}, // Arabic-Indic digit
		{"+94771234577, +94771234578", ""},
		{strings.Repeat("9", 1000), "LK"},
		{"2530000", "US"}, // without its area code
		{"0771234577", "XX"},
		{"\xff\xfe", ""},
	} {
		got, err := phone.Parse(tt.input, tt.region)
		require.Error(t, err, "%q gave %q", tt.input, string(got))
		require.Empty(t, got)
		require.True(t, fault.Is(err, fault.Invalid))
	}
}

func TestParseNeverRepeatsTheNumber(t *testing.T) {
	t.Parallel()
	for _, input := range []string{"0761239999", "+94 76123 999999999", "x76123999", "+99976123999"} {
		_, err := phone.Parse(input, "")
		require.Error(t, err)
		require.NotContains(t, err.Error(), "76123")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"+94771234576", "whatsapp: 94771234577", "077 123 4577", "00 94 77", "+1\x00", "\xff", "+290 1 2345"} {
		f.Add(seed, "LK")
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, input, region string) {
		n, err := phone.Parse(input, region)
		if err != nil {
			return
		}
		require.Regexp(t, `^\+[1-9][0-9]{6,14}$`, n.String())
		again, err := phone.Parse(n.String(), region)
		require.NoError(t, err)
		require.Equal(t, n, again, "canonical form is stable")
		for _, zone := range phone.Zones(n) {
			_, err := time.LoadLocation(zone)
			require.NoError(t, err)
		}
		_ = phone.Region(n)
	})
}

func TestMasked(t *testing.T) {
	t.Parallel()
	require.Equal(t, "+94…4576", phone.Number("+94771234576").Masked())
	require.Equal(t, "+1…8886", phone.Number("+14155238886").Masked())
	require.Equal(t, "…", phone.Number("").Masked())
	require.Equal(t, "…bage", phone.Number("garbage").Masked())

	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "to", phone.Number("+94771234576"))
	require.Contains(t, out.String(), "+94…4576")
	require.NotContains(t, out.String(), "771234576")
}

func TestZones(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"Asia/Colombo"}, phone.Zones("+94771234576"))
	require.Equal(t, []string{"America/Los_Angeles"}, phone.Zones("+14155238886"))
	require.Equal(t, []string{"America/Boise", "America/Los_Angeles"}, phone.Zones("+12085551234"))
	require.Contains(t, phone.Zones("+447400123456"), "Europe/London")
	require.Greater(t, len(phone.Zones("+18005551234")), 20, "toll-free: anywhere in the plan")
	require.Empty(t, phone.Zones("+999123456789"))
	require.Empty(t, phone.Zones(""))

	phone.Zones("+94771234576")[0] = "changed"
	require.Equal(t, []string{"Asia/Colombo"}, phone.Zones("+94771234576"), "callers own the slice")
}

func TestKnownRegion(t *testing.T) {
	t.Parallel()
	for region, known := range map[string]bool{"LK": true, "US": true, "lk": false, "XX": false, "001": false, "": false} {
		require.Equal(t, known, phone.KnownRegion(region), region)
	}
}

func TestRegion(t *testing.T) {
	t.Parallel()
	for number, want := range map[phone.Number]string{
		"+94771234576":    "LK",
		"+447400123456":   "GB",
		"+14155238886":    "US",
		"+14165550100":    "CA",
		"+9779841234567":  "NP",
		"+15005550006":    "US", // in no plan: the main country of +1
		"+80012345678":    "",   // international toll-free
		"+99912345678901": "",
		"":                "",
	} {
		require.Equal(t, want, phone.Region(number), string(number))
	}
}
