package twiliosim

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The states of an approval by WhatsApp, in Twilio's words.
const (
	unsubmitted = "unsubmitted"
	received    = "received"
	pending     = "pending"
	approved    = "approved"
	rejected    = "rejected"
	paused      = "paused"
	disabled    = "disabled"
)

// What WhatsApp takes of a template.
const maxTemplate = 1024 // characters, its variables filled

var errReview = errors.New("status: want approved, rejected, paused or disabled")

// content is a Content template. Like a message's, its approval's future is decided when it is submitted.
type content struct {
	SID          string                     `json:"sid"`
	FriendlyName string                     `json:"friendly_name"`
	Language     string                     `json:"language"`
	Variables    map[string]string          `json:"variables"` // defaults, and samples for the reviewers
	Types        map[string]json.RawMessage `json:"types"`
	Created      time.Time                  `json:"created"`
	Approval     approval                   `json:"approval"`
}

// approval is what WhatsApp thinks of a content; the zero value was never submitted.
type approval struct {
	Name      string    `json:"name,omitempty"`
	Category  string    `json:"category,omitempty"`
	Submitted time.Time `json:"submitted,omitzero"`
	Decided   time.Time `json:"decided,omitzero"` // from then on Status holds
	Status    string    `json:"status,omitempty"`
	Reason    string    `json:"reason,omitempty"`
}

// at is the approval's status by now, and its reason.
func (a approval) at(now time.Time) (status, reason string) {
	switch {
	case a.Status == "":
		return unsubmitted, ""
	case now.Before(a.Decided):
		return pending, ""
	}
	return a.Status, a.Reason
}

// contentType is the first type, in the order of their names; a content of the engine has one.
func (c *content) contentType() string {
	return slices.Min(slices.Collect(maps.Keys(c.Types)))
}

// body is the text of the content, its variables not filled.
func (c *content) body() string {
	var t struct {
		Body string `json:"body"`
	}
	_ = json.Unmarshal(c.Types[c.contentType()], &t) // checked when it was made
	return t.Body
}

var placeholders = regexp.MustCompile(`\{\{\s*([A-Za-z0-9_]+)\s*\}\}`)

// fill renders the content. ok is false when a variable has neither a value nor a default.
func (c *content) fill(variables map[string]string) (text string, ok bool) {
	ok = true
	text = placeholders.ReplaceAllStringFunc(c.body(), func(match string) string {
		name := placeholders.FindStringSubmatch(match)[1]
		value := variables[name]
		if value == "" {
			value = c.Variables[name]
		}
		ok = ok && value != ""
		return value
	})
	return text, ok
}

// decline tells with which code WhatsApp fails a message made of the content, 0 for none. open says that the person wrote
// within 24 hours: a text needs no approval then.
func (c *content) decline(variables map[string]string, text string, complete, open bool, now time.Time) int {
	status, _ := c.Approval.at(now)
	switch {
	case status == paused:
		return 63041
	case status == disabled:
		return 63042
	case status == rejected && !open:
		return 63040
	case status != approved && !open:
		return 63016
	case !complete:
		return 63028
	case utf8.RuneCountInString(text) > maxTemplate:
		return 63021
	}
	for _, value := range variables {
		if strings.ContainsAny(value, "\n\r\t") || strings.Contains(value, "    ") {
			return 63013
		}
	}
	return 0
}

// parseVariables reads ContentVariables: an object of texts, none of them empty.
func parseVariables(raw string) (map[string]string, bool) {
	if raw == "" {
		return nil, true
	}
	var variables map[string]string
	if json.Unmarshal([]byte(raw), &variables) != nil || variables == nil {
		return nil, false
	}
	for _, value := range variables {
		if value == "" {
			return nil, false
		}
	}
	return variables, true
}

// contentAPI routes the part of Twilio's Content API that the engine uses. At Twilio it is a host of its own.
func (s *Simulator) contentAPI(mux *http.ServeMux) {
	mux.Handle("POST /v1/Content", s.api("content", s.createContent))
	mux.Handle("GET /v1/Content", s.api("content", s.listContents))
	mux.Handle("GET /v1/ContentAndApprovals", s.api("content", s.listContents))
	mux.Handle("GET /v1/Content/{sid}", s.api("content", s.fetchContent))
	mux.Handle("DELETE /v1/Content/{sid}", s.api("content", s.deleteContent))
	mux.Handle("GET /v1/Content/{sid}/ApprovalRequests", s.api("content", s.fetchApproval))
	mux.Handle("POST /v1/Content/{sid}/ApprovalRequests/whatsapp", s.api("content", s.submitContent))
}

var languagePattern = regexp.MustCompile(`^[a-z]{2,3}(_[A-Za-z]{2,4})*$`)

func (s *Simulator) createContent(w http.ResponseWriter, r *http.Request, _ *refusal) {
	var in struct {
		FriendlyName string                     `json:"friendly_name"`
		Language     string                     `json:"language"`
		Variables    map[string]string          `json:"variables"`
		Types        map[string]json.RawMessage `json:"types"`
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || !languagePattern.MatchString(in.Language) || len(in.Types) == 0 {
		fail(w, refuse(20001))
		return
	}
	c := &content{
		SID: "HX" + newSID()[2:], FriendlyName: in.FriendlyName, Language: in.Language, Variables: in.Variables, Types: in.Types,
	}
	for name, definition := range in.Types {
		var fields map[string]any
		if !strings.Contains(name, "/") || json.Unmarshal(definition, &fields) != nil {
			fail(w, refuse(20001))
			return
		}
	}
	if c.body() == "" {
		fail(w, refuse(20001))
		return
	}
	refused := s.durably(func(now time.Time) (entry, *refusal) {
		c.Created = now
		return entry{Content: c}, nil
	})
	if refused != nil {
		fail(w, refused)
		return
	}
	reply(w, http.StatusCreated, s.contentResource(c))
}

// content finds the content that a path names. s.mu is held.
func (s *Simulator) content(r *http.Request) (*content, *refusal) {
	if c := s.state.contents[r.PathValue("sid")]; c != nil {
		return c, nil
	}
	return nil, refuse(20404)
}

// withContent answers with what show makes of the content that a path names.
func (s *Simulator) withContent(w http.ResponseWriter, r *http.Request, show func(*content, time.Time) any) {
	s.mu.Lock()
	c, refused := s.content(r)
	var body any
	if refused == nil {
		body = show(c, s.now())
	}
	s.mu.Unlock()
	if refused != nil {
		fail(w, refused)
		return
	}
	reply(w, http.StatusOK, body)
}

func (s *Simulator) fetchContent(w http.ResponseWriter, r *http.Request, _ *refusal) {
	s.withContent(w, r, func(c *content, _ time.Time) any { return s.contentResource(c) })
}

func (s *Simulator) fetchApproval(w http.ResponseWriter, r *http.Request, _ *refusal) {
	s.withContent(w, r, func(c *content, now time.Time) any {
		return map[string]any{
			"sid": c.SID, "account_sid": s.account, "whatsapp": c.approvalResource(now),
			"url": contentHost + "/v1/Content/" + c.SID + "/ApprovalRequests",
		}
	})
}

func (s *Simulator) deleteContent(w http.ResponseWriter, r *http.Request, _ *refusal) {
	refused := s.durably(func(time.Time) (entry, *refusal) {
		c, refused := s.content(r)
		if refused != nil {
			return entry{}, refused
		}
		return entry{DropContent: c.SID}, nil
	})
	if refused != nil {
		fail(w, refused)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// What WhatsApp takes as the name and the categories of a template.
var (
	templateName = regexp.MustCompile(`^[a-z0-9_]{1,512}$`)
	categories   = []string{"MARKETING", "UTILITY", "AUTHENTICATION"}
)

func (s *Simulator) submitContent(w http.ResponseWriter, r *http.Request, _ *refusal) {
	var in struct {
		Name     string `json:"name"`
		Category string `json:"category"`
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || !templateName.MatchString(in.Name) || !slices.Contains(categories, in.Category) {
		fail(w, refuse(20001))
		return
	}
	var submitted *content
	refused := s.durably(func(now time.Time) (entry, *refusal) {
		c, refused := s.content(r)
		if refused != nil {
			return entry{}, refused
		}
		if c.Approval.Status != "" { // once submitted, a content is submitted
			return entry{}, refuse(20001)
		}
		submitted = c
		rules := s.state.faults.Approvals
		decision := approval{
			Name: in.Name, Category: in.Category, Submitted: now, Status: approved,
			Decided: now.Add(time.Duration(rules.DelayMS) * time.Millisecond),
		}
		if rules.Reject != "" {
			decision.Status, decision.Reason = rejected, rules.Reject
		}
		return entry{Approve: &verdict{SID: c.SID, Approval: decision}}, nil
	})
	if refused != nil {
		fail(w, refused)
		return
	}
	res := submitted.approvalResource(time.Time{}) // as of its receipt: not decided
	res.Status, res.RejectionReason = received, ""
	reply(w, http.StatusCreated, res)
}

// listContents serves contents, newest last, alone or with their approvals.
func (s *Simulator) listContents(w http.ResponseWriter, r *http.Request, _ *refusal) {
	q, err := parseSearch(r.URL.Query())
	if err != nil {
		fail(w, refuse(20001))
		return
	}
	withApprovals := strings.HasSuffix(r.URL.Path, "AndApprovals")
	s.mu.Lock()
	now := s.now()
	from := min(q.number*q.size, len(s.state.contentOrder))
	to := min(from+q.size, len(s.state.contentOrder))
	found := []any{}
	for _, sid := range s.state.contentOrder[from:to] {
		res := s.contentResource(s.state.contents[sid])
		if withApprovals {
			res.ApprovalRequests = ptr(s.state.contents[sid].approvalResource(now))
		}
		found = append(found, res)
	}
	more := to < len(s.state.contentOrder)
	s.mu.Unlock()
	address := func(number int) *string {
		u := url.Values{"PageSize": {strconv.Itoa(q.size)}, "Page": {strconv.Itoa(number)}}
		if number > 0 {
			u.Set("PageToken", "PA"+strconv.Itoa(number))
		}
		return ptr(contentHost + r.URL.Path + "?" + u.Encode())
	}
	meta := map[string]any{
		"page": q.number, "page_size": q.size, "first_page_url": address(0), "url": address(q.number), "key": "contents",
		"next_page_url": nil, "previous_page_url": nil,
	}
	if more {
		meta["next_page_url"] = address(q.number + 1)
	}
	if q.number > 0 {
		meta["previous_page_url"] = address(q.number - 1)
	}
	reply(w, http.StatusOK, map[string]any{"contents": found, "meta": meta})
}

const contentHost = "https://content.twilio.com"

// contentResource is a content as Twilio's API shows it.
type contentResource struct {
	SID              string                     `json:"sid"`
	AccountSID       string                     `json:"account_sid"`
	FriendlyName     string                     `json:"friendly_name"`
	Language         string                     `json:"language"`
	Variables        map[string]string          `json:"variables"`
	Types            map[string]json.RawMessage `json:"types"`
	DateCreated      string                     `json:"date_created"`
	DateUpdated      string                     `json:"date_updated"`
	URL              string                     `json:"url"`
	Links            map[string]string          `json:"links"`
	ApprovalRequests *approvalResource          `json:"approval_requests,omitempty"`
}

func (s *Simulator) contentResource(c *content) contentResource {
	address := contentHost + "/v1/Content/" + c.SID
	created := c.Created.UTC().Format(time.RFC3339) // this API, unlike that of messages, writes ISO 8601
	return contentResource{
		SID: c.SID, AccountSID: s.account, FriendlyName: c.FriendlyName, Language: c.Language, Variables: c.Variables, Types: c.Types,
		DateCreated: created, DateUpdated: created, URL: address,
		Links: map[string]string{"approval_create": address + "/ApprovalRequests/whatsapp", "approval_fetch": address + "/ApprovalRequests"},
	}
}

// approvalResource is an approval as Twilio's API shows it.
type approvalResource struct {
	Type                string `json:"type"`
	Name                string `json:"name"`
	Category            string `json:"category"`
	ContentType         string `json:"content_type"`
	Status              string `json:"status"`
	RejectionReason     string `json:"rejection_reason"`
	AllowCategoryChange bool   `json:"allow_category_change"`
}

func (c *content) approvalResource(now time.Time) approvalResource {
	status, reason := c.Approval.at(now)
	return approvalResource{
		Type: "whatsapp", Name: c.Approval.Name, Category: c.Approval.Category, ContentType: c.contentType(),
		Status: status, RejectionReason: reason, AllowCategoryChange: true,
	}
}

// Review is the body of PUT /sim/contents/{sid}/approval: what WhatsApp thinks of a content from now on.
type Review struct {
	Status string `json:"status"` // approved, rejected, paused or disabled
	Reason string `json:"rejection_reason,omitempty"`
}

func (s *Simulator) putReview(w http.ResponseWriter, r *http.Request) {
	var review Review
	if err := readJSON(w, r, &review); err != nil {
		controlFault(w, http.StatusBadRequest, err)
		return
	}
	if !slices.Contains([]string{approved, rejected, paused, disabled}, review.Status) {
		controlFault(w, http.StatusBadRequest, errReview)
		return
	}
	refused := s.durably(func(now time.Time) (entry, *refusal) {
		c, refused := s.content(r)
		if refused != nil {
			return entry{}, refused
		}
		decision := c.Approval
		decision.Decided, decision.Status, decision.Reason = now, review.Status, review.Reason
		return entry{Approve: &verdict{SID: c.SID, Approval: decision}}, nil
	})
	if refused != nil {
		fail(w, refused)
		return
	}
	reply(w, http.StatusOK, review)
}

func ptr[T any](v T) *T { return &v }
