package api_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTopicAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const topics = "/api/v1/topics"
	news := e.call(t, 201, "POST", topics, `{"keyword": "daily-news", "name": "News", "description": "Once a day"}`)
	require.Equal(t, map[string]any{"id": 1.0, "keyword": "daily-news", "name": "News", "description": "Once a day", "created_at": "2026-03-02T12:00:00Z"}, news)
	require.Nil(t, e.call(t, 201, "POST", topics, `{"name": "Surveys"}`)["keyword"])
	for body, want := range map[string][]string{
		`{"name": "x", "keyword": "Daily News"}`:   {"keyword"},
		`{"name": "x", "keyword": "all"}`:          {"keyword"},
		`{"name": " ", "keyword": "a_b"}`:          {"name", "keyword"},
		`{"name": "x", "keyword": ""}`:             {"keyword"},
		`{"name": "x", "title": "y"}`:              {"title"},
		`{"keyword": "x"}`:                         {"name"},
		`{"name": "x", "description": "a\u0000b"}`: {"description"},
	} {
		require.Equal(t, want, fields(e.call(t, 422, "POST", topics, body)), body)
	}
	e.call(t, 409, "POST", topics, `{"name": "News"}`)
	e.call(t, 409, "POST", topics, `{"name": "Other", "keyword": "daily-news"}`)

	page := e.call(t, 200, "GET", topics+"?limit=1", "")
	require.Equal(t, 2.0, page["total"])
	rest := e.call(t, 200, "GET", topics+"?limit=1&cursor="+url.QueryEscape(page["next_cursor"].(string)), "")
	require.Equal(t, []any{news}, rest["topics"])
	require.Equal(t, "Headlines", e.call(t, 200, "PUT", topics+"/1", `{"name": "Headlines"}`)["name"])
	require.Nil(t, e.call(t, 200, "GET", topics+"/1", "")["keyword"], "left out is cleared")
	e.call(t, 409, "PUT", topics+"/1", `{"name": "Surveys"}`)
	e.call(t, 204, "DELETE", topics+"/2", "")
	for _, call := range [][3]string{
		{"GET", topics + "/2", ""}, {"DELETE", topics + "/2", ""}, {"PUT", topics + "/2", `{"name": "x"}`}, {"GET", topics + "/2/subscribers", ""},
	} {
		e.call(t, 404, call[0], call[1], call[2])
	}
}

func TestSubscriptionAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	for i, consent := range []string{"OPT_IN", "STOP"} {
		e.call(t, 201, "POST", "/api/v1/users", fmt.Sprintf(`{"phone_number": "+9477123456%d", "consent_state": %q}`, i, consent))
	}
	e.call(t, 201, "POST", "/api/v1/topics", `{"keyword": "news", "name": "News"}`)
	const one, two = "/api/v1/users/+94771234560/topics", "/api/v1/users/+94771234561/topics"
	said := e.call(t, 200, "PUT", one+"/1", `{"subscribed": true, "evidence": "Sign-up form", "source": "operator"}`)
	require.Equal(t, map[string]any{
		"topic_id": 1.0, "keyword": "news", "name": "News", "subscribed": true, "source": "operator", "evidence": "Sign-up form", "actor": "local",
		"changed_at": "2026-03-02T12:00:00Z",
	}, said)
	e.call(t, 200, "PUT", two+"/1", `{"subscribed": true, "evidence": "Import of the old list"}`)
	require.Equal(t, []any{said}, e.call(t, 200, "GET", one, "")["subscriptions"])

	people := e.call(t, 200, "GET", "/api/v1/topics/1/subscribers?limit=1", "")
	require.Equal(t, 2.0, people["total"])
	require.Equal(t, []any{map[string]any{"masked_phone": "+94…4561", "consent_state": "STOP", "subscribed_at": "2026-03-02T12:00:00Z"}}, people["subscribers"])
	people = e.call(t, 200, "GET", "/api/v1/topics/1/subscribers?limit=1&cursor="+people["next_cursor"].(string), "")
	require.Nil(t, people["next_cursor"])
	require.Equal(t, "+94…4560", people["subscribers"].([]any)[0].(map[string]any)["masked_phone"])

	ended := e.call(t, 200, "PUT", one+"/1", `{"subscribed": false, "evidence": "Call on 3 May"}`)
	require.Equal(t, []any{false, "api"}, []any{ended["subscribed"], ended["source"]})
	require.Equal(t, 1.0, e.call(t, 200, "GET", "/api/v1/topics/1/subscribers", "")["total"])
	require.Equal(t, []any{ended}, e.call(t, 200, "GET", one, "")["subscriptions"], "who ended it, and why, is known")

	require.Equal(t, []string{"evidence"}, fields(e.call(t, 422, "PUT", one+"/1", `{"subscribed": true}`)))
	require.Equal(t, []string{"subscribed"}, fields(e.call(t, 422, "PUT", one+"/1", `{"evidence": "x"}`)))
	require.Equal(t, []string{"source"}, fields(e.call(t, 422, "PUT", one+"/1", `{"subscribed": true, "evidence": "x", "source": "keyword"}`)))
	e.call(t, 400, "PUT", one+"/x", `{"subscribed": true, "evidence": "x"}`)
	e.call(t, 404, "PUT", one+"/9", `{"subscribed": true, "evidence": "x"}`)
	e.call(t, 404, "PUT", "/api/v1/users/+94771234569/topics/1", `{"subscribed": true, "evidence": "x"}`)
	e.call(t, 404, "GET", "/api/v1/users/+94771234569/topics", "")
}

func TestCampaignOfATopic(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	path := fmt.Sprintf("/api/v1/campaigns/%d", e.campaign(t))
	for _, name := range []string{"News", "Offers"} {
		e.call(t, 201, "POST", "/api/v1/topics", fmt.Sprintf(`{"name": %q}`, name))
	}
	const plan = `{"topic": "x", "template_id": 1, "segment_id": 1, "subscription_topic_id": %s}`
	require.Equal(t, 2.0, e.call(t, 201, "POST", "/api/v1/campaigns", fmt.Sprintf(plan, "2"))["subscription_topic_id"])
	require.Equal(t, []string{"subscription_topic_id"}, fields(e.call(t, 422, "POST", "/api/v1/campaigns", fmt.Sprintf(plan, "9"))))
	require.Equal(t, []string{"subscription_topic_id"}, fields(e.call(t, 422, "PATCH", path, `{"subscription_topic_id": 9}`)))
	require.Equal(t, 1.0, e.call(t, 200, "PATCH", path, `{"subscription_topic_id": 1}`)["subscription_topic_id"])
	require.Equal(t, 1.0, e.call(t, 200, "PATCH", path, `{"topic": "Other"}`)["subscription_topic_id"])
	e.call(t, 409, "DELETE", "/api/v1/topics/1", "")
	require.Nil(t, e.call(t, 200, "PATCH", path, `{"subscription_topic_id": null}`)["subscription_topic_id"])
	e.call(t, 204, "DELETE", "/api/v1/topics/1", "")
	e.run(t, 1)
	require.Equal(t, []string{"subscription_topic_id"}, fields(e.call(t, 409, "PATCH", path, `{"subscription_topic_id": 2}`)), "part of the run under way")
}

func TestKeywordAPI(t *testing.T) {
	t.Parallel()
	e := start(t, local)
	const keywords = "/api/v1/keywords"
	empty := e.call(t, 200, "GET", keywords, "")
	require.Contains(t, empty["reserved"], map[string]any{"action": "stop", "locale": "en", "text": "unsubscribe"})
	require.Equal(t, []any{}, empty["additional"])
	set := e.call(t, 200, "PUT", keywords, `{"additional": [{"action": "stop", "locale": "cy", "text": "Peidiwch!"}]}`)
	require.Equal(t, []any{map[string]any{"action": "stop", "locale": "cy", "text": "peidiwch"}}, set["additional"])
	require.Equal(t, empty["reserved"], set["reserved"])
	for body, want := range map[string][]string{
		`{"additional": [{"action": "start", "locale": "en", "text": "Stop"}]}`:        {"additional[0].text"},
		`{"additional": [{"action": "start", "locale": "en", "text": "…"}]}`:           {"additional[0].text"},
		`{"additional": [{"action": "subscribe", "locale": "en", "text": "join"}]}`:    {"additional[0].action"},
		`{"additional": [{"action": "stop", "locale": "English!", "text": "enough"}]}`: {"additional[0].locale"},
		`{"words": []}`: {"additional", "words"},
	} {
		require.ElementsMatch(t, want, fields(e.call(t, 422, "PUT", keywords, body)), body)
	}
	require.Equal(t, set, e.call(t, 200, "GET", keywords, ""), "a refused list changes nothing")

	e.exec(t, `INSERT INTO topics (keyword, name, created_at) VALUES ('news', 'News', $1)`, noon)
	for i, body := range []string{"SUBSCRIBE news", "UNSUBSCRIBE news", "peidiwch"} {
		require.Equal(t, 200, e.do(fromHere(webhook("", "/webhooks/inbound", said(fmt.Sprintf("SM%d", i), body)))).Code)
	}
	var kinds []any
	for _, event := range e.call(t, 200, "GET", "/api/v1/monitoring/inbound", "")["events"].([]any) {
		kinds = append(kinds, event.(map[string]any)["message_classification"])
	}
	require.Equal(t, []any{"stop", "unsubscribe", "subscribe"}, kinds)
}
