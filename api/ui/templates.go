package ui

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/user"
)

type templateStore interface {
	CreateTemplate(ctx context.Context, t render.Saved, now time.Time) (render.Saved, error)
	Template(ctx context.Context, id int64) (render.Saved, error)
	Templates(ctx context.Context, after *int64, atMost int) ([]render.Saved, error)
	TemplateTotal(ctx context.Context) (int64, error)
	// UpdateTemplate replaces the template with t's ID; whatever changes what is sent makes a new version.
	UpdateTemplate(ctx context.Context, t render.Saved, now time.Time) (render.Saved, error)
	DeleteTemplate(ctx context.Context, id int64, now time.Time) error
	// TemplateUses lists the campaigns of a template.
	TemplateUses(ctx context.Context, id int64) ([]report.Use, error)
	// TemplateVersions lists versions below before (nil: from the newest), newest first.
	TemplateVersions(ctx context.Context, id int64, before *int64, atMost int) ([]render.Saved, error)
	// RequestSync has the provider's templates looked at.
	RequestSync(ctx context.Context, by string, now time.Time) error
	UserByPhone(ctx context.Context, number phone.Number) (user.User, error)
	// StartTest sends what a campaign would send, by its template's newest version, to a few people.
	StartTest(ctx context.Context, campaignID int64, numbers []phone.Number, variables user.Attributes, by string, now time.Time) (campaign.Run, []ledger.Enlisted, error)
}

const defaultLocale = "en_US"

// locales are the languages that are offered; WhatsApp knows more.
var locales = []string{
	"ar", "bn", "de", "en", "en_GB", "en_US", "es", "es_MX", "fr", "gu", "hi", "id", "it", "ja", "kn", "ml", "mr", "nl", "pt_BR", "pt_PT", "ru", "si", "sw", "ta", "te", "th", "tr", "ur", "vi", "zh_CN",
}

type templatesBody struct {
	Sync      *form
	Templates []templateRow
	Pager     pager
}

type templateRow struct {
	render.Saved
	Approval render.Approval // the best of its languages
	Refused  []render.Variant
}

func newTemplateRow(t render.Saved) templateRow {
	row := templateRow{Saved: t}
	var all []render.Approval
	for _, v := range t.Variants {
		all = append(all, v.Approval)
		if v.Approval.Refused() {
			row.Refused = append(row.Refused, v)
		}
	}
	row.Approval = render.Best(all)
	return row
}

func (u *UI) templates(c *gin.Context) error {
	ctx := c.Request.Context()
	key, err := after(c)
	if err != nil {
		return err
	}
	saved, err := u.Store.Templates(ctx, key, listSize+1)
	if err != nil {
		return err
	}
	total, err := u.Store.TemplateTotal(ctx)
	if err != nil {
		return err
	}
	body := templatesBody{Sync: newForm()}
	saved, body.Pager = paginate(c, saved, int(total), func(t render.Saved) int64 { return t.ID })
	v := view{Title: "Templates", Section: "/templates"}
	for _, t := range saved {
		row := newTemplateRow(t)
		if row.Approval.Undecided() {
			v.Poll = approvalSeconds
		}
		body.Templates = append(body.Templates, row)
	}
	v.Body = body
	return u.render(c, http.StatusOK, "templates", v)
}

// approvalSeconds is how often a page is looked at anew that shows an approval which nobody has decided yet.
const approvalSeconds = 2

// shownVersions is how many versions a template's page shows.
const shownVersions = 20

type templateBody struct {
	templateRow
	Texts    []variantText
	Warnings []render.Warning
	Versions []render.Saved
	Uses     []report.Use
	Test     *form
	Sync     *form
	Person   phone.Number // who stands for the recipients; "" for nobody
}

// variantText is what a template says in one language to somebody.
type variantText struct {
	render.Variant
	Text    template.HTML
	Length  int
	Limit   int
	Parts   int // of an SMS; 0 on WhatsApp
	Missing []string
	Unfit   []string
	Step    int // how far its approval is: 1 saved, 2 at the provider, 3 at WhatsApp, 4 approved
}

func newVariantText(t render.Saved, v render.Variant, attributes user.Attributes) variantText {
	out := variantText{Variant: v, Limit: render.MaxLength(t.Channel), Step: approvalStep(v)}
	parsed, err := render.Parse(v.Content)
	if err != nil {
		return out
	}
	fill := parsed.Preview(attributes, t.CollapseWhitespace)
	out.Text, out.Length, out.Missing = formatted(fill.Text), render.Length(fill.Text), fill.Missing
	if t.Channel == message.WhatsApp {
		out.Limit, out.Unfit = render.MaxTemplateLength, fill.Unfit
	} else {
		out.Parts = render.Segments(fill.Text)
	}
	return out
}

func approvalStep(v render.Variant) int {
	switch v.Approval {
	case render.Approved:
		return 4
	case render.Submitted:
		return 3
	case render.Received:
		return 2
	}
	if v.ContentSID != "" {
		return 2
	}
	return 1
}

// The marks that WhatsApp draws: *bold*, _italic_, ~struck~ and ```monospace```, at the edges of words.
var whatsAppMarks = []struct {
	form *regexp.Regexp
	tag  string
}{
	{regexp.MustCompile("```([^`]+)```"), "code"},
	{regexp.MustCompile(`(^|[\s(>])\*([^*\s](?:[^*\n]*[^*\s])?)\*`), "strong"},
	{regexp.MustCompile(`(^|[\s(>])_([^_\s](?:[^_\n]*[^_\s])?)_`), "em"},
	{regexp.MustCompile(`(^|[\s(>])~([^~\s](?:[^~\n]*[^~\s])?)~`), "s"},
}

// formatted shows a text as a handset does. Everything in it is escaped; only these marks become tags.
func formatted(text string) template.HTML {
	out := html.EscapeString(text)
	for _, mark := range whatsAppMarks {
		replacement := "$1<" + mark.tag + ">$2</" + mark.tag + ">"
		if mark.tag == "code" {
			replacement = "<code>$1</code>"
		}
		out = mark.form.ReplaceAllString(out, replacement)
	}
	return template.HTML(out) //nolint:gosec // escaped above
}

func (u *UI) showTemplate(c *gin.Context) error {
	return u.templatePage(c, http.StatusOK, newForm())
}

func (u *UI) templatePage(c *gin.Context, status int, test *form) error {
	ctx := c.Request.Context()
	id, err := pathID(c)
	if err != nil {
		return err
	}
	saved, err := u.Store.Template(ctx, id)
	if err != nil {
		return err
	}
	person, err := u.someone(ctx, nil)
	if err != nil {
		return err
	}
	body := templateBody{templateRow: newTemplateRow(saved), Warnings: saved.Warnings(), Test: test, Sync: newForm(), Person: person.Phone}
	v := view{Title: saved.Name, Section: "/templates", URL: fmt.Sprintf("/templates/%d", id)}
	for _, variant := range saved.Variants {
		body.Texts = append(body.Texts, newVariantText(saved, variant, person.Attributes))
		if variant.Approval.Undecided() {
			v.Poll = approvalSeconds
		}
	}
	if body.Versions, err = u.Store.TemplateVersions(ctx, id, nil, shownVersions); err != nil {
		return err
	}
	if body.Uses, err = u.Store.TemplateUses(ctx, id); err != nil {
		return err
	}
	v.Body = body
	return u.render(c, status, "template", v)
}

// someone is the newest person who may be written to, below after when it is given; the zero User when there is none.
func (u *UI) someone(ctx context.Context, after *int64) (user.User, error) {
	found, err := u.Store.Users(ctx, segment.Filter{Consent: string(user.OptIn)}, after, 1, u.Now())
	if err == nil && len(found) == 0 && after != nil {
		found, err = u.Store.Users(ctx, segment.Filter{Consent: string(user.OptIn)}, nil, 1, u.Now()) // from the newest again
	}
	if err != nil || len(found) == 0 {
		return user.User{}, err
	}
	return found[0], nil
}

type templateFormBody struct {
	ID         int64
	Name       string
	Form       *form
	Own        variantFields
	Others     []variantFields
	Blank      variantFields // what one more language begins as
	Channels   []message.Channel
	Categories []render.Category
	Attributes []user.KnownAttribute
	Locales    []string
	Preview    *templatePreview // nil when nothing is written yet
}

// variantFields are the names of the inputs of a language.
type variantFields struct {
	Form   *form
	Prefix string // "" for the template's own language
	Number int    // from 1
}

func (v variantFields) Name(field string) string { return v.Prefix + field }

// variantPrefix begins the names of the inputs of a further language, as faults name them.
func variantPrefix(i int) string { return fmt.Sprintf("variants[%d].", i) }

func (u *UI) newTemplate(c *gin.Context) error {
	f := newForm("channel", string(message.WhatsApp), "locale", defaultLocale, "category", string(render.Marketing))
	return u.templateForm(c, http.StatusOK, templateFormBody{Form: f})
}

func (u *UI) editTemplate(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	t, err := u.Store.Template(c.Request.Context(), id)
	if err != nil {
		return err
	}
	f := newForm("name", t.Name, "channel", string(t.Channel), "category", string(t.Category))
	if t.CollapseWhitespace {
		f.Values.Set("collapse_whitespace", "yes")
	}
	for i, v := range t.Variants {
		prefix := ""
		if i > 0 {
			prefix = variantPrefix(i - 1)
		}
		f.Values.Set(prefix+"locale", v.Locale)
		f.Values.Set(prefix+"content", v.Content)
		if v.Given {
			f.Values.Set(prefix+"content_sid", v.ContentSID)
			f.Values.Set(prefix+"content_variables", mappingText(v.Mapping))
		}
	}
	return u.templateForm(c, http.StatusOK, templateFormBody{ID: id, Name: t.Name, Form: f})
}

func (u *UI) templateForm(c *gin.Context, status int, body templateFormBody) error {
	ctx := c.Request.Context()
	f := body.Form
	body.Channels, body.Categories, body.Locales = []message.Channel{message.WhatsApp, message.SMS}, render.Categories(), locales
	body.Own = variantFields{Form: f, Number: 1}
	body.Blank = variantFields{Form: newForm(), Prefix: variantPrefix(render.MaxVariants), Number: 2}
	for i := 0; f.Values.Has(variantPrefix(i) + "content"); i++ {
		body.Others = append(body.Others, variantFields{Form: f, Prefix: variantPrefix(i), Number: i + 2})
	}
	var err error
	if body.Attributes, err = u.Store.Attributes(ctx); err != nil {
		return err
	}
	if f.Get("content") != "" && body.Preview == nil {
		if body.Preview, err = u.preview(ctx, f, body.Attributes); err != nil {
			return err
		}
	}
	v := view{Title: "New template", Section: "/templates", Body: body, Scripts: []string{"templates.js"}}
	if body.ID != 0 {
		v.Title = "Edit " + body.Name
	}
	return u.render(c, status, "template_form", v)
}

func (u *UI) createTemplate(c *gin.Context) error {
	return u.saveTemplate(c, templateFormBody{}, func(ctx context.Context, t render.Saved) (render.Saved, error) {
		return u.Store.CreateTemplate(ctx, t, u.Now())
	})
}

func (u *UI) updateTemplate(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	was, err := u.Store.Template(c.Request.Context(), id)
	if err != nil {
		return err
	}
	return u.saveTemplate(c, templateFormBody{ID: id, Name: was.Name}, func(ctx context.Context, t render.Saved) (render.Saved, error) {
		t.ID = id
		return u.Store.UpdateTemplate(ctx, t, u.Now())
	})
}

// saveTemplate checks what was sent and stores it, or shows the form again: with another language when that was asked for.
func (u *UI) saveTemplate(c *gin.Context, body templateFormBody, save func(ctx context.Context, t render.Saved) (render.Saved, error)) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	body.Form = f
	renumber(f)
	if f.Get("more") != "" {
		f.Values.Set(variantPrefix(variantCount(f))+"content", "")
		return u.templateForm(c, http.StatusOK, body)
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		t, err := readTemplate(f)
		if err == nil && u.RequireOptOut {
			err = t.CheckOptOut()
		}
		if err != nil {
			return "", err
		}
		saved, err := save(ctx, t)
		flash(c, fmt.Sprintf("The template is saved, as version %d.", saved.Version))
		return fmt.Sprintf("/templates/%d", saved.ID), err
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	return u.templateForm(c, status, body)
}

func variantCount(f *form) int {
	n := 0
	for f.Values.Has(variantPrefix(n) + "content") {
		n++
	}
	return n
}

var variantName = regexp.MustCompile(`^variants\[([0-9]{1,3})\]\.(locale|content|content_sid|content_variables)$`)

// renumber names the further languages of a form from 0 on, without those that are empty.
func renumber(f *form) {
	given := map[int]map[string][]string{}
	for name, values := range f.Values {
		parts := variantName.FindStringSubmatch(name)
		if parts == nil {
			continue
		}
		at, _ := strconv.Atoi(parts[1])
		if given[at] == nil {
			given[at] = map[string][]string{}
		}
		given[at][parts[2]] = values
		delete(f.Values, name)
	}
	next := 0
	for _, at := range slices.Sorted(maps.Keys(given)) {
		if strings.TrimSpace(strings.Join(slices.Concat(slices.Collect(maps.Values(given[at]))...), "")) == "" {
			continue
		}
		f.Values.Set(variantPrefix(next)+"content", "")
		for field, values := range given[at] {
			f.Values[variantPrefix(next)+field] = values
		}
		next++
	}
}

var localeForm = regexp.MustCompile(`^[a-z]{2,3}([_-][A-Za-z0-9]{2,8})*$`)

const maxLocale = 20 // characters

// readTemplate reads a form and checks what it says.
func readTemplate(f *form) (render.Saved, error) {
	t := draftTemplate(f)
	refused := fieldsOf(checkName(t.Name))
	for i, v := range t.Variants {
		at := ""
		if i > 0 {
			at = variantPrefix(i - 1)
		}
		if len(v.Locale) > maxLocale || !localeForm.MatchString(v.Locale) {
			refused = append(refused, fault.Field{Name: at + "locale", Detail: "must be a language such as en or en_US"})
		}
	}
	if t.Channel != message.WhatsApp && t.Channel != message.SMS {
		_, err := render.Parse(t.Content)
		refused = append(append(refused, fieldsOf(err)...), fault.Field{Name: "channel", Detail: "must be whatsapp or sms"})
	} else {
		refused = append(refused, fieldsOf(t.Check())...)
	}
	t.Variables = t.Variants[0].Variables
	return t, fault.Fields(refused...)
}

// draftTemplate is the template that a form describes, right or not.
func draftTemplate(f *form) render.Saved {
	t := render.Saved{
		Name: f.Get("name"), Content: f.Get("content"), Channel: message.Channel(f.Get("channel")), Locale: cmp.Or(f.Get("locale"), defaultLocale),
		Category: render.Category(f.Get("category")), CollapseWhitespace: f.Get("collapse_whitespace") != "",
	}
	t.Variants = []render.Variant{{Locale: t.Locale, Content: t.Content, ContentSID: f.Get("content_sid"), Mapping: mappingOf(f.Get("content_variables"))}}
	for i := range variantCount(f) {
		prefix := variantPrefix(i)
		t.Variants = append(t.Variants, render.Variant{
			Locale: f.Get(prefix + "locale"), Content: f.Get(prefix + "content"), ContentSID: f.Get(prefix + "content_sid"),
			Mapping: mappingOf(f.Get(prefix + "content_variables")),
		})
	}
	return t.Complete()
}

// mappingOf reads "1=name, 2=order.id"; nil when there is none.
func mappingOf(text string) map[string]string {
	if text == "" {
		return nil
	}
	mapping := map[string]string{}
	for _, pair := range strings.Split(text, ",") {
		key, name, _ := strings.Cut(pair, "=")
		mapping[strings.TrimSpace(key)] = strings.TrimSpace(name)
	}
	return mapping
}

func mappingText(mapping map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(mapping)) {
		pairs = append(pairs, key+"="+mapping[key])
	}
	return strings.Join(pairs, ", ")
}

// templatePreview is a template that is being written, as somebody would get it.
type templatePreview struct {
	variantText
	Channel  message.Channel
	Person   user.User // the zero User: nobody is known
	Chosen   string    // the language that this person gets
	Shown    int       // the language that is shown, from 1
	Warnings []render.Warning
	Unheard  []string // placeholders that nobody of the newest people has
	Problems []fault.Field
}

// preview shows the language that is being written ("show", from 1), else the one that the person gets.
func (u *UI) preview(ctx context.Context, f *form, known []user.KnownAttribute) (*templatePreview, error) {
	t := draftTemplate(f)
	p := &templatePreview{Channel: t.Channel, Warnings: t.Warnings()}
	var err error
	if p.Person, err = u.previewPerson(ctx, f, p); err != nil {
		return nil, err
	}
	_, err = readTemplate(f)
	for _, field := range fieldsOf(err) {
		if field.Name != "name" { // it comes last
			p.Problems = append(p.Problems, fault.Field{Name: inputLabel(f, field.Name), Detail: field.Detail})
		}
	}
	chosen := render.Choose(t.Variants, p.Person.Attributes)
	p.Chosen = chosen.Locale
	p.Shown = 1 + slices.IndexFunc(t.Variants, func(v render.Variant) bool { return v.Locale == chosen.Locale })
	if n, err := strconv.Atoi(f.Get("show")); err == nil && n >= 1 && n <= len(t.Variants) {
		p.Shown = n
	}
	shown := t.Variants[p.Shown-1]
	p.variantText = newVariantText(t, shown, p.Person.Attributes)
	for _, name := range shown.Variables {
		if !slices.ContainsFunc(known, func(a user.KnownAttribute) bool { return a.Name == name }) {
			p.Unheard = append(p.Unheard, name)
		}
	}
	return p, nil
}

// inputLabel calls an input of the form as people see it: Text (si).
func inputLabel(f *form, name string) string {
	prefix, field := "", name
	if at := strings.LastIndex(name, "]."); at >= 0 {
		prefix, field = name[:at+2], name[at+2:]
	}
	labels := map[string]string{"content": "Text", "locale": "Language", "content_sid": "Content SID", "content_variables": "Placeholders", "channel": "Channel", "category": "Category"}
	label := cmp.Or(labels[field], field)
	if locale := f.Get(prefix + "locale"); locale != "" && field != "locale" && field != "channel" && field != "category" {
		label += " (" + locale + ")"
	}
	return label
}

func (u *UI) previewPerson(ctx context.Context, f *form, p *templatePreview) (user.User, error) {
	if text := f.Get("preview_phone"); text != "" {
		number, err := phone.Parse(text, u.DefaultRegion)
		var found user.User
		if err == nil {
			found, err = u.Store.UserByPhone(ctx, number)
		}
		if err == nil {
			return found, nil
		}
		if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotFound) {
			return user.User{}, err
		}
		p.Problems = append(p.Problems, fault.Field{Name: "The number", Detail: "is nobody’s whom the engine knows"})
	}
	after, err := f.id("preview_after")
	if err != nil {
		return user.User{}, err
	}
	return u.someone(ctx, after)
}

// previewTemplate shows what is being written. Scripts are given that part alone.
func (u *UI) previewTemplate(c *gin.Context) error {
	ctx := c.Request.Context()
	f, err := readForm(c)
	if err != nil {
		return err
	}
	// The languages keep their numbers, by which the script knows them.
	if c.GetHeader(partHeader) == "" {
		renumber(f)
	}
	known, err := u.Store.Attributes(ctx)
	if err != nil {
		return err
	}
	preview, err := u.preview(ctx, f, known)
	if err != nil {
		return err
	}
	if c.GetHeader(partHeader) != "" {
		return u.renderPart(c, "template_form", "preview", preview)
	}
	id, err := f.id("id")
	if err != nil {
		return err
	}
	body := templateFormBody{Form: f, Preview: preview}
	if id != nil {
		body.ID, body.Name = *id, f.Get("name")
	}
	return u.templateForm(c, http.StatusOK, body)
}

// syncTemplates has a workflow look at the provider's templates.
func (u *UI) syncTemplates(c *gin.Context) error {
	f, err := readForm(c)
	if err != nil {
		return err
	}
	return u.submit(c, f, func(ctx context.Context) (string, error) {
		flash(c, "Twilio is being asked how the approvals stand. What it says is shown here as soon as it is known.")
		place := "/templates"
		if id, err := f.id("id"); err == nil && id != nil {
			place = fmt.Sprintf("/templates/%d", *id)
		}
		return place, u.Store.RequestSync(ctx, u.principal(c.Request), u.Now())
	})
}

func (u *UI) confirmTemplateDelete(c *gin.Context) error {
	return u.templateRemoval(c, http.StatusOK, newForm(), "")
}

func (u *UI) templateRemoval(c *gin.Context, status int, f *form, problem string) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	saved, err := u.Store.Template(c.Request.Context(), id)
	if err != nil {
		return err
	}
	uses, err := u.Store.TemplateUses(c.Request.Context(), id)
	if err != nil {
		return err
	}
	body := removal{
		Noun: "template", Name: saved.Name, Title: "Templates", Path: fmt.Sprintf("/templates/%d", id), List: "/templates", Uses: uses, Problem: problem, Form: f,
	}
	return u.render(c, status, "delete", view{Title: "Delete " + saved.Name, Section: "/templates", Body: body})
}

func (u *UI) deleteTemplate(c *gin.Context) error {
	return u.remove(c, "/templates", "The template is deleted.", u.Store.DeleteTemplate, u.templateRemoval)
}

// nobody is the audience of a draft that is there for tests alone.
var nobody = json.RawMessage(`{"field": "created_at", "operator": "before", "value": "1000-01-01"}`)

// testTemplate sends the template to one person, by a campaign of it that is chosen, or by a draft for nobody.
func (u *UI) testTemplate(c *gin.Context) error {
	id, f, err := readFormOf(c)
	if err != nil {
		return err
	}
	err = u.submit(c, f, func(ctx context.Context) (string, error) {
		number, err := phone.Parse(f.Get("phone_number"), u.DefaultRegion)
		if err != nil {
			return "", err
		}
		by, err := u.testCampaign(ctx, c, id, f)
		if err != nil {
			return "", err
		}
		_, enlisted, err := u.Store.StartTest(ctx, by, []phone.Number{number}, nil, u.principal(c.Request), u.Now())
		if err != nil {
			return "", err
		}
		flash(c, "The test is on its way. This page tells what becomes of it.")
		return "/messages/" + enlisted[0].MessageID.String(), nil
	})
	if err == nil {
		return nil
	}
	status, err := u.refuse(c, f, err)
	if err != nil {
		return err
	}
	for i := range f.Fields {
		f.Fields[i].Name = strings.Replace(f.Fields[i].Name, "phone_numbers[0]", "phone_number", 1)
	}
	return u.templatePage(c, status, f)
}

// testCampaign returns the campaign that a test is sent by.
func (u *UI) testCampaign(ctx context.Context, c *gin.Context, templateID int64, f *form) (int64, error) {
	t, err := u.Store.Template(ctx, templateID)
	if err != nil {
		return 0, err
	}
	uses, err := u.Store.TemplateUses(ctx, templateID)
	if err != nil {
		return 0, err
	}
	chosen, err := f.id("campaign_id")
	if err != nil {
		return 0, err
	}
	const title = "Tests of "
	topic := []rune(title + t.Name)
	name := string(topic[:min(len(topic), maxName)])
	for _, use := range uses {
		if use.As != report.AsTemplate { // a test sends the first step
			continue
		}
		if chosen != nil && use.ID == *chosen || chosen == nil && use.Name == name && use.Status == campaign.Draft {
			return use.ID, nil
		}
	}
	if chosen != nil {
		return 0, fault.Refuse("campaign_id", "must be a campaign of this template")
	}
	made, err := u.Store.CreateCampaign(ctx, campaign.Campaign{
		Topic: name, TemplateID: templateID, SegmentQuery: nobody, RatePerSecond: campaign.DefaultRate, Timezone: campaign.DefaultTimezone,
		FailureThreshold: campaign.DefaultFailureThreshold, CreatedBy: u.principal(c.Request),
	}, u.Now())
	return made.ID, err
}
