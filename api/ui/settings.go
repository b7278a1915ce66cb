package ui

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/throttle"
	"github.com/event-stream-engine/ese/internal/user"
)

type settingStore interface {
	Senders(ctx context.Context, now time.Time) ([]throttle.Sender, error)
	ChangeSender(ctx context.Context, id int64, by string, change func(throttle.Sender) (throttle.Sender, error), now time.Time) (throttle.Sender, error)
	Account(ctx context.Context) (throttle.Account, error)
	ChangeAccount(ctx context.Context, by string, change func(throttle.Account) (throttle.Account, error), now time.Time) (throttle.Account, error)

	CreateTopic(ctx context.Context, t user.Topic, actor string, now time.Time) (user.Topic, error)
	Topic(ctx context.Context, id int64) (user.Topic, error)
	Topics(ctx context.Context, after *int64, atMost int) ([]user.Topic, error)
	TopicTotal(ctx context.Context) (int64, error)
	UpdateTopic(ctx context.Context, t user.Topic, actor string, now time.Time) (user.Topic, error)
	DeleteTopic(ctx context.Context, id int64, actor string, now time.Time) error
	Subscribers(ctx context.Context, topicID int64, after *int64, atMost int) (found []user.Subscriber, total int64, err error)

	Keywords(ctx context.Context) ([]user.Word, error)
	SetKeywords(ctx context.Context, words []user.Word, actor string, now time.Time) error
	Replies(ctx context.Context) ([]inbound.ReplyText, error)
	SetReplies(ctx context.Context, texts []inbound.ReplyText, actor string, now time.Time) error

	// Law is what bounds the hours in which people are written to.
	Law() compliance.Law

	AddSuppressions(ctx context.Context, news []suppression.New, source suppression.Source, actor string, now time.Time) ([]suppression.Entry, error)
	LiftSuppression(ctx context.Context, id int64, evidence, actor string, now time.Time) (suppression.Entry, error)
	Suppressions(ctx context.Context, f suppression.Filter, before *int64, atMost int) ([]suppression.Entry, int64, error)
}

// settingsPage is the entry in the navigation.
const settingsPage = "/settings"

// settingGroup is a part of the settings.
type settingGroup struct {
	Name  string
	Scope access.Scope // who sees it
	Pages []settingPage
}

type settingPage struct {
	Path, Name, Icon, Text string
}

// settingGroups are the settings in the order in which they are listed.
func settingGroups() []settingGroup {
	return []settingGroup{
		{"Sending", access.Read, []settingPage{
			{"/settings/senders", "Senders and limits", "send", "How fast each number sends, what a portfolio may reach in a day, and how often one person is written to."},
			{"/settings/hours", "Hours and legal rules", "clock", "When the law lets people be written to, by where they are, and how quiet hours work."},
			{"/settings/webhooks", "Webhooks", "plug-connected", "What to enter in Twilio’s console so that replies and receipts arrive here."},
		}},
		{"People", access.Read, []settingPage{
			{"/settings/topics", "Topics", "bell", "What people subscribe to by a message, and campaigns are limited to."},
			{"/settings/keywords", "Keywords", "key", "Words that mean stop, start or help besides those that always do."},
			{"/settings/replies", "Replies", "message-2", "What is answered to STOP, START, HELP and subscriptions, in each language."},
			{"/settings/suppressions", "Suppression list", "ban", "Numbers that are never written to, whoever they belong to."},
		}},
		{"Data", access.Read, []settingPage{
			{"/settings/retention", "Retention", "history", "How long what webhooks said and what people wrote is kept."},
		}},
		{"Access", access.Admin, []settingPage{
			{accountsPage, "Accounts", "users", "Who signs in here, and what each may do."},
			{keysPage, "API keys", "lock", "What lets programs in, each with its own rights."},
			{auditPage, "Audit log", "file-text", "Who changed what, when and from where."},
		}},
	}
}

func (u *UI) settings(c *gin.Context) error {
	return u.render(c, http.StatusOK, "settings", view{Title: "Settings", Section: settingsPage, Body: settingGroups()})
}

// renderSetting shows one page of the settings.
func (u *UI) renderSetting(c *gin.Context, status int, name, title string, body any) error {
	return u.render(c, status, name, view{Title: title, Section: settingsPage, Body: body})
}

// What is configured.

type legalRow struct {
	Place, Source string
	Hours         []dayHours // Monday first; days alike are joined
}

type dayHours struct{ Days, Hours string }

func (u *UI) hours(c *gin.Context) error {
	law := u.Store.Law()
	var rows []legalRow
	for _, place := range law.Places() {
		week := law.Of(place)
		row := legalRow{Place: place, Source: week.Source()}
		for day := range 7 {
			weekday := time.Weekday((day + 1) % 7)
			hours, name := week.Hours(weekday), weekday.String()[:3]
			if n := len(row.Hours); n > 0 && row.Hours[n-1].Hours == hours {
				first, _, _ := strings.Cut(row.Hours[n-1].Days, "–")
				row.Hours[n-1].Days = first + "–" + name
				continue
			}
			row.Hours = append(row.Hours, dayHours{name, hours})
		}
		rows = append(rows, row)
	}
	return u.renderSetting(c, http.StatusOK, "hours", "Hours and legal rules", rows)
}

type retentionBody struct{ PayloadDays, BodyDays, ImportDays int }

func (u *UI) retention(c *gin.Context) error {
	return u.renderSetting(c, http.StatusOK, "retention", "Retention", retentionBody{u.PayloadDays, u.BodyDays, u.ImportDays})
}

type webhooksBody struct {
	Inbound, Status string
	Unreachable     bool // from the internet
	Senders         []throttle.Sender
}

func (u *UI) webhooks(c *gin.Context) error {
	senders, err := u.Store.Senders(c.Request.Context(), u.Now())
	if err != nil {
		return err
	}
	return u.renderSetting(c, http.StatusOK, "webhooks", "Webhooks", webhooksBody{
		Inbound: u.PublicURL + "/webhooks/inbound", Status: u.PublicURL + "/webhooks/status", Unreachable: !public(u.PublicURL), Senders: senders,
	})
}

// public tells whether an address may be reached from the internet.
func public(address string) bool {
	at, err := url.Parse(address)
	if err != nil || at.Hostname() == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(at.Hostname())
	return err != nil || !ip.IsLoopback() && !ip.IsPrivate()
}
