package browser

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDemonstration plays what the product is for, through its pages alone: people are imported, a campaign is planned,
// sent, paused and resumed while it is watched, one of them says STOP on their phone, and the summary tells of it.
func TestDemonstration(t *testing.T) {
	p := open(t)
	b := newTab(t, p, desktop)
	const people = 120
	city := "Matara " + time.Now().Format("15:04:05") // so that it can be played again where it was played before
	var file strings.Builder
	file.WriteString("phone_number,name,city,consent_state\n")
	for n := range people {
		fmt.Fprintf(&file, "+9476555%04d,Visitor %d,%s,OPT_IN\n", n, n, city)
	}
	b.importPeople("visitors.csv", file.String(), "120")
	b.saveSegment("Visitors of "+city, `{"attribute": "city", "operator": "equals", "value": "`+city+`"}`, "120")
	b.saveTemplate("Festival in "+city, "Hi {name}! The festival of {city} begins. Reply STOP to opt out.", "utility")
	b.planCampaign("Festival news", "Festival in "+city, "Visitors of "+city, "10")
	summary := b.trigger("120")

	// It is watched without reloading.
	until(t, "the progress to be seen", func() bool { return b.figure("Sent") > 5 })
	b.step("Pause")
	b.sees("PAUSED")
	sent := b.settled("Sent", summary)
	require.Less(t, sent, people, "it was paused on the way")

	b.open("/phone")
	b.click("link", "The festival of "+city+" begins") // somebody whom it has reached already
	b.sees("OPT_IN")
	b.answer("What a nice idea")
	b.sees("What a nice idea")
	b.click("button", "^STOP$")
	b.sees("You have been unsubscribed")
	b.sees(`Visitor \d+ · STOP`)

	b.open(summary)
	b.step("Resume")
	b.sees("COMPLETED")
	until(t, "everybody to be reached", func() bool { return b.figure("Delivered") == people })
	require.Equal(t, people, b.figure("Sent"), "each once, however often the button was pressed")
	require.Equal(t, 1, b.figure("Opt-outs"))
	b.requireClean()
}

// settled reads a figure once the page shows what the API tells of the campaign.
func (b *tab) settled(name, summary string) int {
	b.t.Helper()
	id := regexp.MustCompile(`\d+`).FindString(summary)
	var shown int
	until(b.t, name+" to settle", func() bool {
		shown = b.figure(name)
		return float64(shown) == b.api(b.t, "GET", "/api/v1/campaigns/"+id+"/progress", nil)["sent"]
	})
	return shown
}
