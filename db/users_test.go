package db_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

const frank phone.Number = "+94771234576"

func (b books) events(t *testing.T) []string {
	t.Helper()
	return get[[]string](t, b, `SELECT coalesce(array_agg(state || ' ' || source || ' ' || evidence || ' ' || actor ORDER BY id), '{}') FROM consent_events`)
}

func TestCreateUser(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	u, err := b.CreateUser(ctx, frank, user.Attributes{"age": json.Number("40")}, user.Change{}, "local", noon)
	require.NoError(t, err)
	require.Equal(t, user.Pending, u.Consent, "nobody agrees by silence")
	require.Equal(t, "LK", u.Region)
	require.Equal(t, []string{"Asia/Colombo"}, u.Zones)
	require.Equal(t, user.ZonesFromNumber, u.ZoneSource)
	require.Equal(t, user.Attributes{"age": json.Number("40")}, u.Attributes)
	require.Equal(t, []string{"PENDING unknown  local"}, b.events(t), "the history begins with the first state")

	found, err := b.UserByPhone(ctx, frank)
	require.NoError(t, err)
	require.Equal(t, u, found)

	_, err = b.CreateUser(ctx, frank, nil, user.Change{}, "local", noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	_, err = b.UserByPhone(ctx, "+94771234570")
	require.True(t, fault.Is(err, fault.NotFound), err)

	_, err = b.CreateUser(ctx, "+94771234571", user.Attributes{"timezone": "Europe/London"},
		user.Change{State: user.OptIn, Source: user.SourceAPI}, "key:1", noon)
	require.NoError(t, err)
	require.Equal(t, []string{"PENDING unknown  local", "OPT_IN api  key:1"}, b.events(t))
}

func TestUsers(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	for i, consent := range []string{"OPT_IN", "STOP", "OPT_IN"} {
		b.user(t, fmt.Sprintf("+9477123456%d", i), "LK", `{}`, consent)
	}
	b.user(t, "+447911123456", "GB", `{}`, "OPT_IN")
	numbers := func(consent user.ConsentState, prefix string, after *int64, atMost int) (list []string) {
		users, err := b.Users(ctx, segment.Filter{Consent: string(consent), Prefix: prefix}, after, atMost, noon)
		require.NoError(t, err)
		for _, u := range users {
			list = append(list, string(u.Phone))
		}
		return list
	}
	require.Equal(t, []string{"+447911123456", "+94771234562"}, numbers("", "", nil, 2))
	third := get[int64](t, b, `SELECT id FROM users WHERE phone_number = '+94771234562'`)
	require.Equal(t, []string{"+94771234561", "+94771234560"}, numbers("", "", &third, 9))
	require.Equal(t, []string{"+94771234562", "+94771234560"}, numbers(user.OptIn, "+94", nil, 9))
	for filter, want := range map[[2]string]int64{{"", ""}: 4, {"STOP", ""}: 1, {"OPT_IN", "+94"}: 2, {"", "+1"}: 0} {
		total, exact, err := b.UserTotal(ctx, segment.Filter{Consent: filter[0], Prefix: filter[1]}, 4, noon)
		require.NoError(t, err)
		require.True(t, exact)
		require.Equal(t, want, total, filter)
	}
	total, exact, err := b.UserTotal(ctx, segment.Filter{}, 3, noon)
	require.NoError(t, err)
	require.False(t, exact, "of more than are counted it is told about how many there are")
	require.Greater(t, total, int64(3))
	_, err = b.Users(ctx, segment.Filter{SegmentID: 9}, nil, 1, noon)
	require.True(t, fault.Is(err, fault.Invalid))

	regions, err := b.Regions(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"GB", "LK"}, regions)
}

func TestUpdateUserWithdraws(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	person := b.user(t, string(frank), "LK", `{"city": "Matara"}`, "OPT_IN")
	run := b.run(t, b.campaign(t))
	waiting := b.message(t, run, 1, row{user: person, state: message.Pending, reason: "quiet_hours"})
	other := b.message(t, run, 2, row{state: message.Pending})

	u, err := b.UpdateUser(ctx, frank, nil, user.Change{State: user.Stop, Source: user.SourceOperator, Evidence: "call"}, "key:2", noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, user.Stop, u.Consent)
	require.Equal(t, user.Attributes{"city": "Matara"}, u.Attributes, "attributes that are not given stay")
	require.Equal(t, noon.Add(time.Hour), u.UpdatedAt.UTC())
	require.Equal(t, []string{"STOP operator call key:2"}, b.events(t))
	state := `SELECT state || ' ' || reason FROM messages WHERE id = $1`
	require.Equal(t, "suppressed stopped", get[string](t, b, state, waiting))
	require.Equal(t, "pending ", get[string](t, b, state, other))
	require.JSONEq(t, fmt.Sprintf(`{"run_id": %d, "campaign_id": 1, "number": 1, "seq": 1}`, run),
		string(get[json.RawMessage](t, b, `SELECT payload FROM outbox WHERE kind = 'recipient.signal'`)))

	_, err = b.UpdateUser(ctx, frank, user.Attributes{"city": "Galle"}, user.Change{State: user.OptIn, Source: user.SourceAPI}, "key:2", noon)
	require.True(t, fault.Is(err, fault.Conflict), "an edit does not lift a STOP: %v", err)
	require.Equal(t, "Matara", get[string](t, b, `SELECT attributes->>'city' FROM users`), "a refused change changes nothing")

	u, err = b.UpdateUser(ctx, frank, user.Attributes{}, user.Change{State: user.OptIn, Source: user.SourceOperator, Evidence: "signed form"}, "key:2", noon)
	require.NoError(t, err)
	require.Equal(t, user.OptIn, u.Consent)
	require.Empty(t, u.Attributes, "given attributes replace all")
	require.Len(t, b.events(t), 2)
}

func TestSegments(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	b.user(t, "+94771234561", "LK", `{"city": "Colombo"}`, "OPT_IN")
	b.user(t, "+94771234562", "LK", `{"city": "Colombo"}`, "STOP")
	b.user(t, "+94771234563", "LK", `{"city": "Galle"}`, "OPT_IN")
	definition := json.RawMessage(`{"attribute": "city", "operator": "equals", "value": "Colombo"}`)
	saved, err := b.CreateSegment(ctx, "Colombo", definition, noon)
	require.NoError(t, err)
	require.JSONEq(t, string(definition), string(saved.Definition))
	_, err = b.CreateSegment(ctx, "Colombo", definition, noon)
	require.True(t, fault.Is(err, fault.Conflict), err)

	expr, err := segment.Parse("definition", saved.Definition)
	require.NoError(t, err)
	count, sendable, sample, err := b.EvaluateSegment(ctx, expr, 1, noon)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 1}, []int64{count, sendable})
	require.Len(t, sample, 1)
	require.Equal(t, phone.Number("+94771234562"), sample[0].Phone)
	require.Equal(t, user.Attributes{"city": "Colombo"}, sample[0].Attributes)

	_, err = b.UpdateSegment(ctx, saved.ID, "Galle", json.RawMessage(`{"city": "Galle"}`), noon)
	require.NoError(t, err)
	read, err := b.Segment(ctx, saved.ID)
	require.NoError(t, err)
	require.Equal(t, "Galle", read.Name)
	second, err := b.CreateSegment(ctx, "Second", definition, noon)
	require.NoError(t, err)
	list, err := b.Segments(ctx, nil, 9)
	require.NoError(t, err)
	require.Equal(t, []int64{second.ID, saved.ID}, []int64{list[0].ID, list[1].ID})
	list, err = b.Segments(ctx, &second.ID, 9)
	require.NoError(t, err)
	require.Len(t, list, 1)

	require.NoError(t, b.DeleteSegment(ctx, second.ID, noon))
	require.True(t, fault.Is(b.DeleteSegment(ctx, second.ID, noon), fault.NotFound))
	plan := b.plan(t)
	plan.SegmentID = &saved.ID
	_, err = b.CreateCampaign(ctx, plan, noon)
	require.NoError(t, err)
	require.True(t, fault.Is(b.DeleteSegment(ctx, saved.ID, noon), fault.Conflict), "a campaign uses it")
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	first, err := b.CreateTemplate(ctx, render.Saved{Name: "Welcome", Content: "Hi {name}", Variables: []string{"name"}, Channel: message.WhatsApp, Locale: "en_US"}, noon)
	require.NoError(t, err)
	require.Equal(t, 1, first.Version)

	renamed := first
	renamed.Name = "Hello"
	renamed, err = b.UpdateTemplate(ctx, renamed, noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, renamed.Version, "the text is the same")
	require.Equal(t, []string{"template.approve"}, b.outbox(t), "the same text is not submitted again")
	changed := renamed
	changed.Content, changed.Variables = "Hello", nil
	changed, err = b.UpdateTemplate(ctx, changed, noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 2, changed.Version)
	require.Equal(t, "Hi {name}", get[string](t, b, `SELECT content FROM template_versions WHERE version = 1`), "a version never changes")
	read, err := b.Template(ctx, first.ID)
	require.NoError(t, err)
	require.Equal(t, changed, read)
	require.Equal(t, []string{"template.approve"}, b.outbox(t))

	_, err = b.CreateTemplate(ctx, changed, noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	_, err = b.UpdateTemplate(ctx, render.Saved{ID: 99, Name: "x"}, noon)
	require.True(t, fault.Is(err, fault.NotFound), err)
	plan := b.plan(t)
	plan.TemplateID = first.ID
	_, err = b.CreateCampaign(ctx, plan, noon)
	require.NoError(t, err)
	require.True(t, fault.Is(b.DeleteTemplate(ctx, first.ID, noon), fault.Conflict), "a campaign uses it")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	_, secret, err := b.CreateKey(ctx, "ops", []string{"read", "send"}, "operator", noon)
	require.NoError(t, err)
	require.True(t, access.LooksLikeKey(secret))
	key, err := b.KeyByHash(ctx, access.Hash(secret))
	require.NoError(t, err)
	require.Equal(t, []access.Scope{access.Read, access.Send}, key.Scopes)
	require.Equal(t, secret[:len(key.Prefix)], key.Prefix)
	require.Nil(t, key.LastUsedAt)
	require.NoError(t, b.KeyUsed(ctx, key.ID, noon))

	_, _, err = b.CreateKey(ctx, "ops", []string{"read"}, "operator", noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	_, _, err = b.CreateKey(ctx, "other", []string{"root"}, "operator", noon)
	require.True(t, fault.Is(err, fault.Invalid), err)
	_, err = b.KeyByHash(ctx, access.Hash("ese_other"))
	require.True(t, fault.Is(err, fault.NotFound), err)

	key, err = b.KeyByName(ctx, "ops")
	require.NoError(t, err)
	_, err = b.RevokeKey(ctx, key.ID, "operator", noon)
	require.NoError(t, err)
	_, err = b.RevokeKey(ctx, key.ID, "operator", noon)
	require.True(t, fault.Is(err, fault.NotFound))
	keys, err := b.Keys(ctx, nil, 10)
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.NotNil(t, keys[0].RevokedAt)
	require.NotNil(t, keys[0].LastUsedAt)
	require.NotContains(t, get[string](t, b, `SELECT string_agg(k::text, '') FROM api_keys k`), secret)
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	answer := access.Answer{RequestSHA256: []byte{1}, Status: 201, Type: "application/json", Body: []byte("{}")}
	require.NoError(t, b.SaveIdempotentAnswer(ctx, "local", "old", answer, noon.Add(-48*time.Hour), noon.Add(-72*time.Hour)))
	require.NoError(t, b.SaveIdempotentAnswer(ctx, "local", "k", answer, noon, noon.Add(-24*time.Hour)))
	require.Equal(t, "k", get[string](t, b, `SELECT string_agg(key, ',') FROM idempotency_keys`), "expired answers are forgotten")

	got, err := b.IdempotentAnswer(ctx, "local", "k", noon)
	require.NoError(t, err)
	require.Equal(t, answer, got)
	for _, miss := range [][2]string{{"local", "other"}, {"key:1", "k"}} {
		_, err = b.IdempotentAnswer(ctx, miss[0], miss[1], noon)
		require.True(t, fault.Is(err, fault.NotFound), miss)
	}
	_, err = b.IdempotentAnswer(ctx, "local", "k", noon.Add(time.Second))
	require.True(t, fault.Is(err, fault.NotFound), "expired")

	var once sync.WaitGroup
	once.Add(1)
	held, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.InTx(ctx, func(ctx context.Context) error {
			locked, err := b.LockIdempotencyKey(ctx, "local", "k")
			close(held)
			once.Wait()
			if err == nil && !locked {
				err = fault.New(fault.Conflict, "not locked")
			}
			return err
		})
	}()
	<-held
	tryLock := func(key string) (locked bool) {
		require.NoError(t, b.InTx(ctx, func(ctx context.Context) (err error) {
			locked, err = b.LockIdempotencyKey(ctx, "local", key)
			return err
		}))
		return locked
	}
	require.False(t, tryLock("k"))
	require.True(t, tryLock("k2"))
	once.Done()
	require.NoError(t, <-ended)
	require.True(t, tryLock("k"))
}
