package twilio

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

func values(t *testing.T, encoded string) url.Values {
	t.Helper()
	v, err := url.ParseQuery(encoded)
	require.NoError(t, err)
	return v
}

func TestParseCallback(t *testing.T) {
	t.Parallel()
	attempt := uuid.MustParse("018f2f1e-7d3a-7c1b-9a52-6a2b3c4d5e6f")
	for name, tc := range map[string]struct {
		query, form string
		want        Callback
	}{
		"Delivered": {
			"attempt=" + attempt.String(),
			"AccountSid=AC1&MessageSid=SM1&SmsSid=SM1&MessageStatus=delivered&To=whatsapp%3A%2B94771234567&From=whatsapp%3A%2B14155238886",
			Callback{AttemptID: attempt, AccountSID: "AC1", SID: "SM1", Status: "delivered", State: message.Delivered, Channel: message.WhatsApp, From: "+14155238886", To: "+94771234567"},
		},
		"Failed": {
			"", "SmsSid=SM1&SmsStatus=Failed&ErrorCode=63024&ChannelStatusMessage=no",
			Callback{SID: "SM1", Status: "failed", State: message.Failed, ErrorCode: 63024, RawErrorCode: "63024", Detail: "no"},
		},
		"Read": {
			"attempt=nonsense", "MessageSid=SM1&MessageStatus=read&EventType=READ",
			Callback{SID: "SM1", Status: "read", State: message.Read, EventType: "READ"},
		},
		"UnknownStatus": {"", "MessageSid=SM1&MessageStatus=teleported", Callback{SID: "SM1", Status: "teleported"}},
		"NoStatus":      {"", "MessageSid=SM1", Callback{SID: "SM1"}},
		"ErrorIsNoNumber": {
			"", "MessageSid=SM1&MessageStatus=undelivered&ErrorCode=E-7",
			Callback{SID: "SM1", Status: "undelivered", State: message.Undelivered, RawErrorCode: "E-7"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseCallback(values(t, tc.query), values(t, tc.form))
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
	_, err := ParseCallback(nil, values(t, "MessageStatus=sent"))
	require.True(t, fault.Is(err, fault.Invalid))
}

func TestCarrierState(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]message.State{
		"accepted": message.Accepted, "scheduled": message.Accepted, "queued": message.Accepted, "sending": message.Accepted,
		"sent": message.Sent, "delivered": message.Delivered, "partially_delivered": message.Delivered, "read": message.Read,
		"failed": message.Failed, "canceled": message.Failed, "undelivered": message.Undelivered,
	} {
		got, known := CarrierState(status)
		require.True(t, known, status)
		require.Equal(t, want, got)
	}
	for _, status := range []string{"", "received", "receiving", "lost"} {
		_, known := CarrierState(status)
		require.False(t, known, status)
	}
}

func TestParseInbound(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		form string
		want Inbound
	}{
		"PlusAsSpace": {
			"From=whatsapp:+94771234576&To=whatsapp:+14155238886&Body=Hello%20world&MessageSid=SM123test&WaId=94771234576",
			Inbound{SID: "SM123test", Channel: message.WhatsApp, From: "+94771234576", To: "+14155238886", Body: "Hello world", WaID: "94771234576"},
		},
		"Button": {
			"SmsMessageSid=SM1&AccountSid=AC1&From=whatsapp%3A%2B94771234576&To=whatsapp%3A%2B14155238886&Body=Stop+promotions&ButtonText=Stop+promotions&ButtonPayload=stop&MessageType=button&NumMedia=0&ProfileName=Grace",
			Inbound{AccountSID: "AC1", SID: "SM1", Channel: message.WhatsApp, From: "+94771234576", To: "+14155238886", Body: "Stop promotions", ButtonText: "Stop promotions", ButtonPayload: "stop", MessageType: "button", ProfileName: "Grace"},
		},
		"SMS": {
			"MessageSid=SM1&From=%2B14155550100&To=%2B14155238886&Body=STOP&OptOutType=stop&NumMedia=2",
			Inbound{SID: "SM1", Channel: message.SMS, From: "+14155550100", To: "+14155238886", Body: "STOP", OptOutType: "STOP", NumMedia: 2},
		},
		"MediaIsNoNumber": {
			"MessageSid=SM1&From=%2B14155550100&To=%2B14155238886&NumMedia=many",
			Inbound{SID: "SM1", Channel: message.SMS, From: "+14155550100", To: "+14155238886"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseInbound(values(t, tc.form))
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
	for name, form := range map[string]string{
		"NoSID":        "From=%2B14155550100&To=%2B14155238886",
		"NoSender":     "MessageSid=SM1&To=%2B14155238886",
		"ShortCode":    "MessageSid=SM1&From=72345&To=%2B14155238886",
		"TwoChannels":  "MessageSid=SM1&From=%2B14155550100&To=whatsapp%3A%2B14155238886",
		"OtherChannel": "MessageSid=SM1&From=messenger%3A123456789&To=messenger%3A987654321",
	} {
		_, err := ParseInbound(values(t, form))
		require.True(t, fault.Is(err, fault.Invalid), name)
		require.NotContains(t, err.Error(), "4155550100")
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, channel := range []message.Channel{message.WhatsApp, message.SMS} {
		gotChannel, number, err := ParseAddress(Address(channel, "+94771234567"))
		require.NoError(t, err)
		require.Equal(t, channel, gotChannel)
		require.Equal(t, "+94771234567", number)
	}
	for address, want := range map[string]string{
		"whatsapp: 94771234567": "+94771234567", "WhatsApp:+94771234567": "+94771234567", "whatsapp:94771234567": "+94771234567", " 94771234567": "+94771234567",
	} {
		_, number, err := ParseAddress(address)
		require.NoError(t, err, address)
		require.Equal(t, want, number)
	}
	for _, address := range []string{"", "+", "whatsapp:", "94771234567", "+0771234567", "+94 77", "++94771234567", "rcs:+94771234567", "+" + strings.Repeat("9", 16), "+9477123456٧"} {
		_, _, err := ParseAddress(address)
		require.Error(t, err, address)
	}
}

func FuzzWebhookForms(f *testing.F) {
	f.Add("attempt=018f2f1e-7d3a-7c1b-9a52-6a2b3c4d5e6f", "MessageSid=SM1&MessageStatus=read&ErrorCode=1")
	f.Add("", "MessageSid=SM1&From=whatsapp:+94771234576&To=whatsapp:+14155238886&Body=STOP&NumMedia=99999999999999999999")
	f.Fuzz(func(t *testing.T, query, body string) {
		q, _ := url.ParseQuery(query)
		form, _ := url.ParseQuery(body)
		if cb, err := ParseCallback(q, form); err == nil {
			require.NotEmpty(t, cb.SID)
			require.GreaterOrEqual(t, cb.ErrorCode, 0)
			require.True(t, cb.State == "" || cb.State.Valid())
		}
		if in, err := ParseInbound(form); err == nil {
			require.NotEmpty(t, in.SID)
			require.GreaterOrEqual(t, in.NumMedia, 0)
			channel, number, err := ParseAddress(Address(in.Channel, in.From))
			require.NoError(t, err)
			require.Equal(t, in.Channel, channel)
			require.Equal(t, in.From, number)
		}
	})
}
