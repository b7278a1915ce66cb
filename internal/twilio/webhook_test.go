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
			Callback{AttemptID: attempt, SID: "SM1", Status: "delivered", State: message.Delivered, To: "+94771234567"},
		},
		"Failed": {
			"", "SmsSid=SM1&SmsStatus=Failed&ErrorCode=63024&ChannelStatusMessage=no",
			Callback{SID: "SM1", Status: "failed", State: message.Failed, ErrorCode: 63024},
		},
		"Read": {
			"attempt=nonsense", "MessageSid=SM1&MessageStatus=read&EventType=READ",
			Callback{SID: "SM1", Status: "read", State: message.Read},
		},
		"UnknownStatus": {"", "MessageSid=SM1&MessageStatus=teleported", Callback{SID: "SM1", Status: "teleported"}},
		"NoStatus":      {"", "MessageSid=SM1", Callback{SID: "SM1"}},
		"ErrorIsNoNumber": {
			"", "MessageSid=SM1&MessageStatus=undelivered&ErrorCode=E-7",
			Callback{SID: "SM1", Status: "undelivered", State: message.Undelivered},
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

func FuzzParseCallback(f *testing.F) {
	f.Add("attempt=018f2f1e-7d3a-7c1b-9a52-6a2b3c4d5e6f", "MessageSid=SM1&MessageStatus=read&ErrorCode=1")
	f.Add("", "SmsSid=SM1&To=whatsapp:+94771234576&ErrorCode=99999999999999999999")
	f.Fuzz(func(t *testing.T, query, body string) {
		q, _ := url.ParseQuery(query)
		form, _ := url.ParseQuery(body)
		if cb, err := ParseCallback(q, form); err == nil {
			require.NotEmpty(t, cb.SID)
			require.GreaterOrEqual(t, cb.ErrorCode, 0)
			require.True(t, cb.State == "" || cb.State.Valid())
		}
	})
}
