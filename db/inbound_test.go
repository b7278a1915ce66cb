package db_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

func said(sid string, from phone.Number, body string) inbound.Message {
	return inbound.Message{SID: sid, Channel: message.WhatsApp, From: from, Body: body, Payload: []byte(`{"Body":["…"]}`)}
}

func (b books) consent(t *testing.T, number string) string {
	t.Helper()
	return get[string](t, b, `SELECT consent_state FROM users WHERE phone_number = $1`, number)
}

func TestReceive(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const number = "+94770000001"
	person := b.user(t, number, "LK", `{}`, "OPT_IN")
	run := b.run(t, b.campaign(t))
	waiting := b.message(t, run, 1, row{user: person, state: message.Pending, reason: "quiet_hours"})
	sent := b.message(t, run, 2, row{state: message.Delivered})

	r, err := b.Receive(ctx, said("SM1", number, "hello"), noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{}, r)
	require.Equal(t, noon.Add(time.Hour), get[time.Time](t, b, `SELECT last_inbound_at FROM users WHERE id = $1`, person).UTC())

	r, err = b.Receive(ctx, said("SM2", number, "Stop!"), noon.Add(2*time.Hour))
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionStop, Changed: true}, r)
	require.Equal(t, "STOP", b.consent(t, number))
	state := `SELECT state || ' ' || reason FROM messages WHERE id = $1`
	require.Equal(t, "suppressed stopped", get[string](t, b, state, waiting))
	require.Equal(t, "delivered ", get[string](t, b, state, sent))
	require.Equal(t, "recipient.signal", get[string](t, b, `SELECT kind FROM outbox`), "the workflow that waits is told")
	require.Equal(t, "STOP keyword SM2 user", get[string](t, b, `SELECT state || ' ' || source || ' ' || evidence || ' ' || actor FROM consent_events WHERE user_id = $1`, person))

	again, err := b.Receive(ctx, said("SM2", number, "Stop!"), noon.Add(3*time.Hour))
	require.NoError(t, err)
	require.Equal(t, r, again, "a second delivery gives the first one's result")
	require.EqualValues(t, 1, get[int32](t, b, `SELECT repeats FROM inbound_messages WHERE provider_sid = 'SM2'`))
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM consent_events`))

	r, err = b.Receive(ctx, said("SM3", number, "STOP"), noon.Add(4*time.Hour))
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionStop}, r, "stopped already")

	r, err = b.Receive(ctx, said("SM4", number, "yes"), noon.Add(5*time.Hour))
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionStart, Changed: true}, r)
	require.Equal(t, "OPT_IN", b.consent(t, number))
	r, err = b.Receive(ctx, said("SM2", number, "Stop!"), noon.Add(6*time.Hour))
	require.NoError(t, err)
	require.True(t, r.Changed)
	require.Equal(t, "OPT_IN", b.consent(t, number), "an old STOP delivered again stops nobody")
	r, err = b.Receive(ctx, said("SM5", number, "help"), noon.Add(7*time.Hour))
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionHelp}, r)
}

func TestReceiveFindsTheSender(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()

	_, err := b.Receive(ctx, said("SM1", "+94770000001", "hi"), noon)
	require.NoError(t, err)
	require.Equal(t, "PENDING", b.consent(t, "+94770000001"), "writing to us is no consent")
	require.Equal(t, "LK {Asia/Colombo}", get[string](t, b, `SELECT region || ' ' || zones::text FROM users`))

	mexican := b.user(t, "+525512345678", "MX", `{}`, "OPT_IN")
	m := said("SM2", "+5215512345678", "stop")
	m.WhatsAppID = "+525512345678"
	_, err = b.Receive(ctx, m, noon)
	require.NoError(t, err)
	require.Equal(t, "STOP", b.consent(t, "+525512345678"))
	require.Equal(t, mexican, get[int64](t, b, `SELECT user_id FROM inbound_messages WHERE provider_sid = 'SM2'`))

	r, err := b.Receive(ctx, said("SM3", "", "STOP"), noon)
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionStop}, r, "nobody's consent changed")
	require.Nil(t, get[*int64](t, b, `SELECT user_id FROM inbound_messages WHERE provider_sid = 'SM3'`), "stored all the same")
	require.EqualValues(t, 2, get[int64](t, b, `SELECT count(*) FROM users`))

	b.erase(t, "+94770000001")
	_, err = b.Receive(ctx, said("SM1", "+94770000001", "hi"), noon)
	require.NoError(t, err)
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM users`), "who was erased stays erased when their message comes again")
	require.EqualValues(t, 1, get[int32](t, b, `SELECT repeats FROM inbound_messages WHERE provider_sid = 'SM1'`))
}

func TestReceiveAtOnce(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const deliveries = 8
	results := make([]inbound.Reception, deliveries)
	errs := make([]error, deliveries)
	var wg sync.WaitGroup
	for i := range deliveries {
		wg.Go(func() { results[i], errs[i] = b.Receive(ctx, said("SM1", "+94770000001", "STOP"), noon) })
	}
	wg.Wait()
	for i := range deliveries {
		require.NoError(t, errs[i])
		require.Equal(t, inbound.Reception{Action: user.ActionStop, Changed: true}, results[i])
	}
	require.EqualValues(t, deliveries-1, get[int32](t, b, `SELECT repeats FROM inbound_messages`))
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM users`))
	require.Equal(t, []string{"PENDING keyword SM1 user", "STOP keyword SM1 user"}, b.events(t))
}
