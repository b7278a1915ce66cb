package twiliosim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// json sends a signed-in request with a JSON body.
func (s *served) json(t *testing.T, method, path string, in any) (int, map[string]any) {
	t.Helper()
	text, err := json.Marshal(in)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(text))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(testAccount, testToken)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body := map[string]any{}
	if res.StatusCode != http.StatusNoContent {
		require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
	}
	return res.StatusCode, body
}

// content makes a content with a text and returns its SID.
func (s *served) content(t *testing.T, text string) string {
	t.Helper()
	status, body := s.json(t, http.MethodPost, "/v1/Content", map[string]any{
		"friendly_name": "greeting", "language": "en_US", "variables": map[string]string{}, "types": map[string]any{"twilio/text": map[string]string{"body": text}},
	})
	require.Equal(t, 201, status, "%v", body)
	require.Regexp(t, "^HX[0-9a-f]{32}$", body["sid"])
	return body["sid"].(string)
}

func (s *served) submit(t *testing.T, sid string) {
	t.Helper()
	status, body := s.json(t, http.MethodPost, "/v1/Content/"+sid+"/ApprovalRequests/whatsapp", map[string]string{"name": "greeting_1", "category": "MARKETING"})
	require.Equal(t, 201, status)
	require.Equal(t, "received", body["status"])
}

func (s *served) approval(t *testing.T, sid string) map[string]any {
	t.Helper()
	status, body := s.json(t, http.MethodGet, "/v1/Content/"+sid+"/ApprovalRequests", nil)
	require.Equal(t, 200, status)
	return body["whatsapp"].(map[string]any)
}

func TestContent(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	sid := s.content(t, "Hi {{1}}!")
	status, body := s.json(t, http.MethodGet, "/v1/Content/"+sid, nil)
	require.Equal(t, 200, status)
	require.Equal(t, "greeting", body["friendly_name"])
	require.Equal(t, map[string]any{"twilio/text": map[string]any{"body": "Hi {{1}}!"}}, body["types"])
	_, err := time.Parse(time.RFC3339, body["date_created"].(string))
	require.NoError(t, err, "twilio-go reads it as JSON time")

	require.Equal(t, "unsubmitted", s.approval(t, sid)["status"])
	s.submit(t, sid)
	require.Equal(t, "approved", s.approval(t, sid)["status"])
	status, _ = s.json(t, http.MethodPost, "/v1/Content/"+sid+"/ApprovalRequests/whatsapp", map[string]string{"name": "greeting_1", "category": "MARKETING"})
	require.Equal(t, 400, status, "submitted already")

	for name, in := range map[string]map[string]any{
		"no language": {"types": map[string]any{"twilio/text": map[string]string{"body": "Hi"}}},
		"no type":     {"language": "en"},
		"no text":     {"language": "en", "types": map[string]any{"twilio/text": map[string]string{}}},
	} {
		status, _ := s.json(t, http.MethodPost, "/v1/Content", in)
		require.Equal(t, 400, status, name)
	}
	for _, in := range []map[string]string{{"name": "Greeting!", "category": "MARKETING"}, {"name": "greeting", "category": "SPAM"}} {
		status, _ := s.json(t, http.MethodPost, "/v1/Content/"+s.content(t, "Hi")+"/ApprovalRequests/whatsapp", in)
		require.Equal(t, 400, status, "%v", in)
	}

	status, _ = s.json(t, http.MethodDelete, "/v1/Content/"+sid, nil)
	require.Equal(t, 204, status)
	status, body = s.json(t, http.MethodGet, "/v1/Content/"+sid, nil)
	require.Equal(t, 404, status)
	require.EqualValues(t, 20404, body["code"])
}

func TestApprovalsOnDemand(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	s.faults(t, Faults{Approvals: ApprovalFaults{DelayMS: 3_600_000}})
	slow := s.content(t, "Hi")
	s.submit(t, slow)
	require.Equal(t, "pending", s.approval(t, slow)["status"])

	s.faults(t, Faults{Approvals: ApprovalFaults{Reject: "INVALID_FORMAT"}})
	bad := s.content(t, "Hi")
	s.submit(t, bad)
	require.Equal(t, "rejected", s.approval(t, bad)["status"])
	require.Equal(t, "INVALID_FORMAT", s.approval(t, bad)["rejection_reason"])

	require.Equal(t, 200, s.ask(t, http.MethodPut, "/sim/contents/"+slow+"/approval", Review{Status: "paused", Reason: "quality"}, nil))
	require.Equal(t, "paused", s.approval(t, slow)["status"])
	require.Equal(t, 400, s.ask(t, http.MethodPut, "/sim/contents/"+slow+"/approval", Review{Status: "liked"}, nil))
	require.Equal(t, 404, s.ask(t, http.MethodPut, "/sim/contents/HX1/approval", Review{Status: "paused"}, nil))
}

func TestContentsPage(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{})
	for range 5 {
		s.submit(t, s.content(t, "Hi"))
	}
	path, seen := "/v1/ContentAndApprovals?PageSize=2", 0
	for pages := 0; path != ""; pages++ {
		require.Less(t, pages, 3)
		status, body := s.json(t, http.MethodGet, path, nil)
		require.Equal(t, 200, status)
		for _, c := range body["contents"].([]any) {
			seen++
			require.Equal(t, "approved", c.(map[string]any)["approval_requests"].(map[string]any)["status"])
		}
		next, _ := body["meta"].(map[string]any)["next_page_url"].(string)
		path = ""
		if next != "" {
			path = next[len(contentHost):]
		}
	}
	require.Equal(t, 5, seen)
	_, body := s.json(t, http.MethodGet, "/v1/Content", nil)
	require.NotContains(t, body["contents"].([]any)[0], "approval_requests")
}

func TestContentsAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := New(Config{AccountSID: testAccount, AuthToken: testToken, DataDir: dir})
	require.NoError(t, err)
	c := &content{SID: "HX" + testAccount[2:], Language: "en", Types: map[string]json.RawMessage{"twilio/text": json.RawMessage(`{"body":"Hi"}`)}}
	require.Nil(t, first.durably(func(time.Time) (entry, *refusal) { return entry{Content: c}, nil }))
	require.Nil(t, first.durably(func(time.Time) (entry, *refusal) {
		return entry{Approve: &verdict{SID: c.SID, Approval: approval{Status: approved}}}, nil
	}))
	require.NoError(t, first.Close())
	again, err := New(Config{AccountSID: testAccount, AuthToken: testToken, DataDir: dir})
	require.NoError(t, err)
	require.Equal(t, "Hi", again.state.contents[c.SID].body())
	status, _ := again.state.contents[c.SID].Approval.at(time.Now())
	require.Equal(t, approved, status)
	require.NoError(t, again.Close())
}

// fate is how a message ended: its error code, else its status.
func (s *served) fate(t *testing.T, more ...string) (string, map[string]any) {
	t.Helper()
	status, body := s.send(t, more...)
	require.Equal(t, 201, status, "%v", body)
	path := messages + "/" + body["sid"].(string) + ".json"
	require.Eventually(t, func() bool {
		_, _, body = s.call(t, http.MethodGet, path, nil)
		return body["status"] == "read" || body["status"] == "failed" || body["status"] == "delivered" && channelOf(body["from"].(string)) == "sms"
	}, eventually, tick)
	if body["error_code"] != nil {
		return fmt.Sprint(body["error_code"]), body
	}
	return body["status"].(string), body
}

func TestWindow(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{Delays: quick, InboundURL: newHook(t, nil).URL})
	s.enforceWindow(t)
	sid := s.content(t, "Hi {{1}}, news from {{ 2 }}")
	template := []string{"Body", "", "ContentSid", sid, "ContentVariables", `{"1":"Ann","2":"Kandy"}`}
	fate, _ := s.fate(t)
	require.Equal(t, "63016", fate, "free text")
	fate, _ = s.fate(t, template...)
	require.Equal(t, "63016", fate, "not approved")
	fate, _ = s.fate(t, "From", "+14155238886", "To", "+94771234567")
	require.Equal(t, "delivered", fate, "an SMS has no window")

	s.submit(t, sid)
	fate, body := s.fate(t, template...)
	require.Equal(t, "read", fate)
	require.Equal(t, "Hi Ann, news from Kandy", body["body"], "the list shows the text, filled")
	for variables, want := range map[string]string{
		`{"1":"Ann"}`: "63028", `{"1":"Ann\nLee","2":"Kandy"}`: "63013", `{"1":"Ann    Lee","2":"Kandy"}`: "63013",
	} {
		fate, _ = s.fate(t, "Body", "", "ContentSid", sid, "ContentVariables", variables)
		require.Equal(t, want, fate, variables)
	}
	for status, want := range map[string]string{"paused": "63041", "disabled": "63042", "rejected": "63040"} {
		require.Equal(t, 200, s.ask(t, http.MethodPut, "/sim/contents/"+sid+"/approval", Review{Status: status}, nil))
		fate, _ = s.fate(t, template...)
		require.Equal(t, want, fate)
	}

	require.Equal(t, 200, s.ask(t, http.MethodPost, "/sim/inbound", Phone{From: "+94771234567", To: "+14155238886", Body: "Hi"}, nil))
	fate, _ = s.fate(t)
	require.Equal(t, "read", fate, "the person wrote")
	fate, _ = s.fate(t, "Body", "", "ContentSid", s.content(t, "Hi"))
	require.Equal(t, "read", fate, "a text needs no approval then")
}
