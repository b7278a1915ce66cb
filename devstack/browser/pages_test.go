package browser

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// furnish puts enough into the product for every page to have something to show. It may be called again.
func (p *product) furnish(t *testing.T) {
	t.Helper()
	if p.api(t, "GET", "/api/v1/campaigns?limit=1", nil)["total"].(float64) > 0 {
		return
	}
	users := make([]object, 60)
	for i := range users {
		users[i] = object{
			"phone_number": fmt.Sprintf("+9477123%04d", i), "consent_state": "OPT_IN",
			"name": []string{"Nimali Perera", "Kasun Silva", "Ann Fernando"}[i%3], "city": []string{"Colombo", "Kandy", "Galle", "Jaffna"}[i%4],
		}
	}
	task := p.api(t, "POST", "/api/v1/users/bulk", users)["task_id"].(string)
	until(t, "the import to finish", func() bool {
		return p.api(t, "GET", "/api/v1/ingest/status/"+task, nil)["status"] == "COMPLETED"
	})
	segment := p.api(t, "POST", "/api/v1/segments", object{
		"name": "Everyone with a city", "definition_json": object{"attribute": "city", "operator": "exists", "value": true},
	})["id"]
	template := p.api(t, "POST", "/api/v1/templates", object{
		"name": "Greeting", "content": "Hi {name}, news from {city}! Reply STOP to opt out.", "variables": []string{"name", "city"}, "category": "utility",
	})["id"]
	p.api(t, "POST", "/api/v1/topics", object{"name": "Offers", "keyword": "offers"})
	for _, topic := range []string{"Spring news", "Summer news"} {
		p.api(t, "POST", "/api/v1/campaigns", object{
			"topic": topic, "template_id": template, "segment_id": segment, "rate_limit_per_second": 50,
		})
	}
	p.api(t, "POST", "/api/v1/campaigns/1/trigger", object{})
	until(t, "the campaign to end", func() bool {
		return p.api(t, "GET", "/api/v1/campaigns/1", nil)["status"] == "COMPLETED"
	})
	p.api(t, "POST", "/api/v1/suppressions", object{"phone_number": "+94771230001", "reason": "complaint", "evidence": "by phone, 24 November"})
}

// pages are the addresses of all pages, for a product that is furnished.
func (p *product) pages(t *testing.T) []string {
	t.Helper()
	return []string{
		"/", "/campaigns", "/campaigns/new", "/campaign/1/summary", "/campaign/1/recipients", "/campaign/2/summary", "/campaign/2/trigger",
		"/campaign/1/replies", "/campaign/2/edit", "/campaign/1/retry",
		"/users", "/users/new", "/users/1", "/users/1/erase", "/imports", "/imports/new",
		"/segments", "/segments/new", "/segments/1", "/segments/1/edit", "/templates", "/templates/new", "/templates/1", "/templates/1/edit",
		"/monitoring", "/unknown",
		"/settings", "/settings/senders", "/settings/topics", "/settings/topics/1", "/settings/keywords", "/settings/replies", "/settings/hours",
		"/settings/suppressions", "/settings/suppressions/1/lift", "/settings/retention", "/settings/webhooks",
		"/settings/accounts", "/settings/keys", "/settings/audit",
		"/phone", "/phone?number=" + url.QueryEscape("+94771230000"), "/nothing-here",
	}
}

// The pages in the words of who uses them. Where a page changes its words, they change here alone.

// importPeople drops a file of people on the page and waits until they are taken over.
func (b *tab) importPeople(file, content, count string) {
	b.t.Helper()
	b.open("/imports/new")
	b.drop("button", "Drop a file here", file, content)
	b.sees("(?i)becomes") // its columns are listed
	b.click("button", "^Import$")
	b.sees("(?i)completed")
	b.sees(`(?i)taken over\s+` + count)
}

func (b *tab) saveSegment(name, definition, people string) {
	b.t.Helper()
	b.open("/segments/new")
	b.fill("^Name$", name)
	b.click("button", "^JSON$")
	b.fill("^Condition as JSON$", definition)
	b.sees(`(?i)selected\s+` + people)
	b.click("button", "^Save$")
	b.find("heading|link", "^"+regexp.QuoteMeta(name)+"$")
}

func (b *tab) saveTemplate(name, text, category string) {
	b.t.Helper()
	b.open("/templates/new")
	b.fill("^Name$", name)
	b.fill("^Text$", text)
	b.choose("^Category$", category)
	b.click("button", "^Save and submit$")
	b.find("heading", "^"+regexp.QuoteMeta(name)+"$")
}

// planCampaign saves a draft without quiet hours and goes to the question whether to send it.
func (b *tab) planCampaign(topic, template, segment, rate string) {
	b.t.Helper()
	b.open("/campaigns/new")
	b.fill("^Title$", topic)
	b.choose("^Template$", template)
	b.choose("^Segment$", segment)
	b.fill("^Messages a second", rate)
	b.click("button", "^Save as draft$")
	b.click("link", "^Send…$")
	b.find("heading", "^Send “"+regexp.QuoteMeta(topic))
}

// trigger confirms that the campaign is sent to so many people, and returns the path of its page.
func (b *tab) trigger(people string) string {
	b.t.Helper()
	b.sees("sent to " + people + " of " + people + " people")
	b.doubleClick("button", "^Send to "+people+" people$")
	b.sees("RUNNING")
	return b.place()
}

// step takes a step with the campaign whose page is shown, such as Pause.
func (b *tab) step(name string) {
	b.t.Helper()
	b.click("link", "^"+name+"…$")
	b.find("heading", "^"+name+": ")
	b.click("button", "^"+name+"$")
}

// figure reads one of the figures of a page.
func (b *tab) figure(name string) int {
	b.t.Helper()
	found := regexp.MustCompile(`(?im)^\s*` + name + `\b[^\d\n]*\s*?([\d,]+)`).FindStringSubmatch(b.text())
	if found == nil {
		return -1
	}
	n, err := strconv.Atoi(strings.ReplaceAll(found[1], ",", ""))
	require.NoError(b.t, err)
	return n
}

// phone goes to somebody's simulated phone.
func (b *tab) phone(number string) {
	b.t.Helper()
	b.open("/phone")
	b.fill("^Whose phone", number)
	b.click("button", "^Show$")
	b.find("log", "^Conversation$")
}

// answer writes a message on the phone that is shown.
func (b *tab) answer(text string) {
	b.t.Helper()
	b.fill("^Message$", text)
	b.click("button", "^Send$")
}
