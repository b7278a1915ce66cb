package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/user"
)

func (b books) topic(t *testing.T, keyword, name string) user.Topic {
	t.Helper()
	topic, err := b.CreateTopic(t.Context(), user.Topic{Keyword: keyword, Name: name}, "tester", noon)
	require.NoError(t, err)
	return topic
}

// subscriptionEvents lists who said what about which topic, in order.
func (b books) subscriptionEvents(t *testing.T) []string {
	t.Helper()
	return get[[]string](t, b, `SELECT coalesce(array_agg(topic_id || ' ' || subscribed || ' ' || source || ' ' || evidence || ' ' || actor ORDER BY id), '{}')
		FROM subscription_events`)
}

func TestTopics(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	news, offers := b.topic(t, "news", "News"), b.topic(t, "", "Offers")
	require.Equal(t, "news", news.Keyword)
	b.topic(t, "", "Surveys") // any number of topics has no keyword
	for _, taken := range []user.Topic{{Name: "News"}, {Name: "Other", Keyword: "news"}} {
		_, err := b.CreateTopic(ctx, taken, "tester", noon)
		require.True(t, fault.Is(err, fault.Conflict), err)
	}
	after := news.ID + 1
	found, err := b.Topics(ctx, &after, 10)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "News", found[0].Name)
	total, err := b.TopicTotal(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 3, total)

	offers.Name, offers.Keyword, offers.Description = "Deals", "deals", "Now and then"
	renamed, err := b.UpdateTopic(ctx, offers, "tester", noon)
	require.NoError(t, err)
	require.Equal(t, offers.Keyword, renamed.Keyword)
	offers.Keyword = "news"
	_, err = b.UpdateTopic(ctx, offers, "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	_, err = b.UpdateTopic(ctx, user.Topic{ID: 99, Name: "x"}, "tester", noon)
	require.True(t, fault.Is(err, fault.NotFound), err)

	plan := b.plan(t)
	plan.SubscriptionTopicID = &news.ID
	created, err := b.CreateCampaign(ctx, plan, noon)
	require.NoError(t, err)
	require.Equal(t, news.ID, *created.SubscriptionTopicID)
	err = b.DeleteTopic(ctx, news.ID, "tester", noon)
	require.True(t, fault.Is(err, fault.Conflict), err)
	require.ErrorContains(t, err, "a campaign goes to this topic's subscribers")
	require.NoError(t, b.DeleteTopic(ctx, offers.ID, "tester", noon))
	require.True(t, fault.Is(b.DeleteTopic(ctx, offers.ID, "tester", noon), fault.NotFound))

	missing := int64(99)
	plan.SubscriptionTopicID = &missing
	_, err = b.CreateCampaign(ctx, plan, noon)
	require.ErrorContains(t, err, "subscription_topic_id: there is no topic 99")
	require.Equal(t, []string{"topic.create topic/1", "topic.create topic/2", "topic.create topic/3", "topic.change topic/2", "topic.delete topic/2"},
		get[[]string](t, b, `SELECT array_agg(action || ' ' || subject ORDER BY id) FROM audit_events WHERE action LIKE 'topic.%'`))
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const number = "+94770000001"
	b.user(t, number, "LK", `{}`, "OPT_IN")
	news, offers := b.topic(t, "news", "News"), b.topic(t, "offers", "Offers")
	form := user.Change{Source: user.SourceAPI, Evidence: "sign-up form"}
	set := func(topic user.Topic, subscribed bool, change user.Change, at time.Time) user.Subscription {
		t.Helper()
		said, err := b.SetSubscription(ctx, number, topic.ID, subscribed, change, "key:1", at)
		require.NoError(t, err)
		require.Equal(t, subscribed, said.Subscribed)
		return said
	}
	said := set(news, true, form, noon)
	require.Equal(t, "News", said.Topic.Name)
	require.Equal(t, user.SourceAPI, said.Source)
	again := set(news, true, form, noon.Add(time.Hour))
	require.Equal(t, said, again, "the same again changes nothing")
	set(news, true, user.Change{Source: user.SourceOperator, Evidence: "ticket 7"}, noon.Add(time.Hour)) // other evidence is news
	set(offers, false, form, noon)                                                                       // never subscribed: recorded all the same
	require.Equal(t, []string{"1 true api sign-up form key:1", "1 true operator ticket 7 key:1", "2 false api sign-up form key:1"}, b.subscriptionEvents(t))

	list, err := b.Subscriptions(ctx, number)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, []any{"news", true, "ticket 7", "offers", false}, []any{
		list[0].Topic.Keyword, list[0].Subscribed, list[0].Evidence, list[1].Topic.Keyword, list[1].Subscribed,
	})

	b.user(t, "+94770000002", "LK", `{}`, "STOP")
	_, err = b.SetSubscription(ctx, "+94770000002", news.ID, true, form, "key:1", noon)
	require.NoError(t, err, "on record; what may be sent is another matter")
	people, total, err := b.Subscribers(ctx, news.ID, nil, 1)
	require.NoError(t, err)
	require.EqualValues(t, 2, total)
	require.Len(t, people, 1)
	require.Equal(t, user.Stop, people[0].Consent)
	people, _, err = b.Subscribers(ctx, news.ID, &people[0].UserID, 5)
	require.NoError(t, err)
	require.Len(t, people, 1)
	require.EqualValues(t, number, people[0].Phone)

	for _, call := range []func() error{
		func() error { _, err := b.SetSubscription(ctx, number, 99, true, form, "key:1", noon); return err },
		func() error {
			_, err := b.SetSubscription(ctx, "+94770000009", news.ID, true, form, "key:1", noon)
			return err
		},
		func() error { _, err := b.Subscriptions(ctx, "+94770000009"); return err },
		func() error { _, _, err := b.Subscribers(ctx, 99, nil, 5); return err },
	} {
		require.True(t, fault.Is(call(), fault.NotFound))
	}
}

// Whoever unsubscribes gets nothing more of the topic, whatever waited for them; other campaigns go on.
func TestUnsubscribeEndsWhatWaits(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const number = "+94770000001"
	person := b.user(t, number, "LK", `{}`, "OPT_IN")
	news := b.topic(t, "news", "News")
	topical, other := b.campaign(t), b.campaign(t)
	b.exec(t, `UPDATE campaigns SET subscription_topic_id = $2 WHERE id = $1`, topical, news.ID)
	change := user.Change{Source: user.SourceOperator, Evidence: "ticket 7"}
	_, err := b.SetSubscription(ctx, number, news.ID, true, change, "tester", noon)
	require.NoError(t, err)
	waits := b.message(t, b.run(t, topical), 1, row{user: person, state: message.Pending, reason: "quiet_hours"})
	goesOn := b.message(t, b.run(t, other), 1, row{user: person, state: message.Pending, reason: "quiet_hours"})

	r, err := b.Receive(ctx, said("SM1", number, "UNSUBSCRIBE news"), noon)
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionUnsubscribe, Changed: true}, r)
	state := `SELECT state || ' ' || reason FROM messages WHERE id = $1`
	require.Equal(t, "suppressed not_subscribed", get[string](t, b, state, waits))
	require.Equal(t, "pending quiet_hours", get[string](t, b, state, goesOn))
	require.Equal(t, []string{"recipient.signal 1"}, b.outbox(t), "the workflow that waits is told")
	require.Equal(t, "OPT_IN", b.consent(t, number), "one topic is not everything")
}

func TestReceiveTopics(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const number = "+94770000001"
	b.topic(t, "daily-offers", "Offers")
	receive := func(sid, body string) inbound.Reception {
		t.Helper()
		r, err := b.Receive(ctx, said(sid, number, body), noon)
		require.NoError(t, err)
		return r
	}
	subscribed := inbound.Reception{Action: user.ActionSubscribe, Changed: true}
	require.Equal(t, inbound.Reception{Action: user.ActionSubscribe}, receive("SM1", "SUBSCRIBE nonsense"))
	require.Equal(t, "PENDING", b.consent(t, number), "asking for what is not there is no consent")
	require.Equal(t, subscribed, receive("SM2", "Subscribe Daily Offers"))
	require.Equal(t, "OPT_IN", b.consent(t, number), "they asked for messages themselves")
	require.Equal(t, []string{"PENDING keyword SM1 user", "OPT_IN keyword SM2 user"}, b.events(t))
	require.Equal(t, []string{"1 true keyword SM2 user"}, b.subscriptionEvents(t))
	require.Equal(t, subscribed, receive("SM2", "Subscribe Daily Offers"), "a second delivery gives the first one's result")
	require.Equal(t, []string{"1 true keyword SM2 user"}, b.subscriptionEvents(t))

	require.Equal(t, user.ActionStop, receive("SM3", "UNSUBSCRIBE").Action)
	require.Equal(t, "STOP", b.consent(t, number))
	require.EqualValues(t, 1, get[int64](t, b, `SELECT count(*) FROM subscriptions`), "subscriptions stay on record")
	require.Equal(t, user.ActionSubscribe, receive("SM4", "SUBSCRIBE daily-offers").Action)
	require.Equal(t, "STOP", b.consent(t, number), "only START takes back a STOP")
	require.Equal(t, user.ActionStart, receive("SM5", "START").Action)
	require.Equal(t, "OPT_IN", b.consent(t, number))
	require.Equal(t, inbound.Reception{Action: user.ActionUnsubscribe, Changed: true}, receive("SM6", "unsubscribe daily offers"))
	require.Equal(t, inbound.Reception{Action: user.ActionUnsubscribe}, receive("SM7", "unsubscribe other things"))
	require.EqualValues(t, 0, get[int64](t, b, `SELECT count(*) FROM subscriptions`))
	require.Equal(t, []string{"subscribe subscribe en", "stop unsubscribe en", "start start en", "unsubscribe unsubscribe en"},
		get[[]string](t, b, `SELECT array_agg(intent || ' ' || keyword || ' ' || keyword_locale ORDER BY id) FROM inbound_messages WHERE provider_sid IN ('SM2', 'SM3', 'SM5', 'SM6')`))

	r, err := b.Receive(ctx, said("SM8", "", "SUBSCRIBE daily-offers"), noon)
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionSubscribe}, r, "nobody to subscribe")
}

func TestKeywords(t *testing.T) {
	t.Parallel()
	b, ctx := open(t), t.Context()
	const number = "+94770000001"
	b.user(t, number, "LK", `{}`, "OPT_IN")
	set := func(words ...user.Word) {
		t.Helper()
		checked, err := user.CheckWords("additional", words)
		require.NoError(t, err)
		require.NoError(t, b.SetKeywords(ctx, checked, "tester", noon))
		stored, err := b.Keywords(ctx)
		require.NoError(t, err)
		require.ElementsMatch(t, checked, stored)
	}
	halt, join := user.Word{Action: user.ActionStop, Locale: "de", Text: "Genug jetzt!"}, user.Word{Action: user.ActionStart, Locale: "de", Text: "mitmachen"}
	set(halt, user.Word{Action: user.ActionHelp, Locale: "de", Text: "Mitmachen"})
	set(halt, join)

	r, err := b.Receive(ctx, said("SM1", number, "GENUG, JETZT"), noon)
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionStop, Changed: true}, r)
	require.Equal(t, "STOP", b.consent(t, number))
	tapped := said("SM2", number, "")
	tapped.ButtonText = "Mitmachen"
	r, err = b.Receive(ctx, tapped, noon)
	require.NoError(t, err)
	require.Equal(t, inbound.Reception{Action: user.ActionStart, Changed: true}, r)
	set()
	r, err = b.Receive(ctx, said("SM3", number, "genug jetzt"), noon)
	require.NoError(t, err)
	require.Equal(t, user.ActionNone, r.Action)
	r, err = b.Receive(ctx, said("SM4", number, "stop"), noon)
	require.NoError(t, err)
	require.Equal(t, user.ActionStop, r.Action, "a reserved word always counts")
}
