package render

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

// Category is what WhatsApp takes a template for.
type Category string

// The categories.
const (
	Marketing      Category = "marketing"
	Utility        Category = "utility"        // about something that the person has asked for or bought
	Authentication Category = "authentication" // a code to sign in with
)

// Categories lists every category.
func Categories() []Category { return []Category{Marketing, Utility, Authentication} }

// Approval is whether WhatsApp lets a text be sent to somebody who has not written within a day.
type Approval string

// The states of an approval. All but the first and the last are the provider's words.
const (
	NotNeeded   Approval = "not_needed" // of another channel's texts
	Unsubmitted Approval = "unsubmitted"
	Received    Approval = "received" // by the provider; not yet at WhatsApp
	Submitted   Approval = "pending"
	Approved    Approval = "approved"
	Rejected    Approval = "rejected"
	Paused      Approval = "paused"   // by WhatsApp, for its quality
	Disabled    Approval = "disabled" // likewise, for good
	Invalid     Approval = "invalid"  // what we know of it does not fit what the provider has
)

// Undecided reports whether nobody has decided yet.
func (a Approval) Undecided() bool { return a == Unsubmitted || a == Received || a == Submitted }

// Refused reports whether the text must not be sent as a template, and only people can change that.
func (a Approval) Refused() bool {
	return a == Rejected || a == Paused || a == Disabled || a == Invalid
}

// Best is how a text stands that may be sent in any of several languages: approved in one, else undecided in one, else
// refused. NotNeeded when none has to be approved.
func Best(all []Approval) Approval {
	best := NotNeeded
	rank := func(a Approval) int {
		switch {
		case a == NotNeeded:
			return 0
		case a.Refused():
			return 1
		case a.Undecided():
			return 2
		default:
			return 3
		}
	}
	for _, a := range all {
		if rank(a) > rank(best) {
			best = a
		}
	}
	return best
}

// ParseApproval reads the provider's word; anything new counts as undecided.
func ParseApproval(status string) Approval {
	a := Approval(strings.ToLower(status))
	if a == Approved || a.Undecided() || a == Rejected || a == Paused || a == Disabled {
		return a
	}
	if a == "" {
		return Unsubmitted
	}
	return Submitted
}

// Variant is what a template says in one language, and what the provider knows of it.
type Variant struct {
	Locale    string   `json:"locale"`
	Content   string   `json:"content"` // Parse reads it
	Variables []string `json:"variables"`
	// Mapping names our variable for each of the provider's placeholders.
	Mapping map[string]string `json:"mapping"`
	// ContentSID names the provider's template; "" before it is made.
	ContentSID string   `json:"content_sid"`
	Given      bool     `json:"given"` // the content was made elsewhere and named here
	Approval   Approval `json:"approval"`
	Reason     string   `json:"approval_reason"` // for which it was refused

	SubmittedAt *time.Time `json:"submitted_at"`
	CheckedAt   *time.Time `json:"checked_at"`
}

// Refusal tells an operator why the variant is not sent.
func (v Variant) Refusal() string {
	text := "the template is " + string(v.Approval)
	if v.Locale != "" {
		text += " (" + v.Locale + ")"
	}
	if v.Reason != "" {
		text += ": " + v.Reason
	}
	return text
}

// Choose picks the variant for a person: that of their attribute language, else locale; of the same language when there is
// none of the same region; the first, the template's own, when there is neither. The zero Variant for no variants.
func Choose(variants []Variant, attributes user.Attributes) Variant {
	if len(variants) == 0 {
		return Variant{}
	}
	if len(variants) == 1 {
		return variants[0]
	}
	wanted := normalLocale(localeOf(attributes))
	if wanted == "" {
		return variants[0]
	}
	language, _, _ := strings.Cut(wanted, "_")
	for _, fits := range []func(locale string) bool{
		func(locale string) bool { return locale == wanted },
		func(locale string) bool { return locale == language },
		func(locale string) bool { return strings.HasPrefix(locale, language+"_") },
	} {
		for _, v := range variants {
			if fits(normalLocale(v.Locale)) {
				return v
			}
		}
	}
	return variants[0]
}

func localeOf(attributes user.Attributes) string {
	for _, name := range []string{"language", "locale"} {
		if value, ok := attributes.Lookup(name); ok {
			if text, ok := value.(string); ok && text != "" {
				return text
			}
		}
	}
	return ""
}

func normalLocale(locale string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(locale), "-", "_"))
}

// SameLocale reports whether two locales are one, however they are written.
func SameLocale(a, b string) bool { return normalLocale(a) == normalLocale(b) }

// ProviderLocale writes a locale as the provider does: en_US.
func ProviderLocale(locale string) string { return strings.ReplaceAll(locale, "-", "_") }

// Numbering maps the provider's placeholders, 1…n, to the template's variables in order of appearance.
func (t Template) Numbering() map[string]string {
	mapping := map[string]string{}
	for i, name := range t.Variables() {
		mapping[strconv.Itoa(i+1)] = name
	}
	return mapping
}

// CheckMapping refuses a mapping that does not name every variable exactly once. field names it in the fault.
func (t Template) CheckMapping(field string, mapping map[string]string) error {
	var refused []fault.Field
	used := t.Variables()
	named := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(mapping)) {
		name := mapping[key]
		switch {
		case !placeholderKey.MatchString(key):
			refused = append(refused, fault.Field{Name: field, Detail: "has a placeholder that is not of letters, digits and underscores"})
		case !slices.Contains(used, name):
			refused = append(refused, fault.Field{Name: field, Detail: "names " + name + ", which the text does not use"})
		case named[name]:
			refused = append(refused, fault.Field{Name: field, Detail: "names " + name + " twice"})
		}
		named[name] = true
	}
	for _, name := range used {
		if !named[name] {
			refused = append(refused, fault.Field{Name: field, Detail: "does not name " + name + ", which the text uses"})
		}
	}
	return fault.Fields(refused...)
}

var (
	placeholderKey       = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)
	providerPlaceholders = regexp.MustCompile(`\{\{\s*([A-Za-z0-9_]+)\s*\}\}`)
)

// ProviderBody writes the text with the provider's placeholders, {{1}}, in place of ours.
func (t Template) ProviderBody(mapping map[string]string) string {
	keys := map[string]string{}
	for key, name := range mapping {
		keys[name] = key
	}
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.text)
		if p.variable != "" {
			b.WriteString("{{" + keys[p.variable] + "}}")
		}
	}
	return b.String()
}

// SameBody reports whether two of the provider's texts say the same, whatever the white space inside their placeholders.
func SameBody(a, b string) bool {
	return providerPlaceholders.ReplaceAllString(a, "{{$1}}") == providerPlaceholders.ReplaceAllString(b, "{{$1}}")
}

// FromProvider writes a text of the provider's as one of ours. Placeholders that mapping does not name are refused.
func FromProvider(body string, mapping map[string]string) (string, error) {
	escape := strings.NewReplacer("{", "{{", "}", "}}")
	var b strings.Builder
	var missing []string
	last := 0
	for _, at := range providerPlaceholders.FindAllStringSubmatchIndex(body, -1) {
		key := body[at[2]:at[3]]
		name := mapping[key]
		if name == "" && !slices.Contains(missing, key) {
			missing = append(missing, key)
		}
		b.WriteString(escape.Replace(body[last:at[0]]) + "{" + name + "}")
		last = at[1]
	}
	b.WriteString(escape.Replace(body[last:]))
	if len(missing) > 0 {
		return "", fault.Refuse("content_variables", "must name one of our variables for each placeholder of the content: %s is missing", strings.Join(missing, ", "))
	}
	return b.String(), nil
}

// MaxTemplateLength is how long a filled template may be at WhatsApp, in the units of Length.
const MaxTemplateLength = 1024

// Fit reports whether WhatsApp takes a value in a template: on one line, without tabs and without four spaces together.
func Fit(value string) bool {
	return !strings.ContainsAny(value, "\n\r\t\v\f\u0085\u2028\u2029") && !strings.Contains(value, "    ")
}

// Fill is what filling a template gave.
type Fill struct {
	Text    string
	Missing []string // variables without a usable value
	Unfit   []string // variables whose values WhatsApp does not take in a template
}

// Fill fills the template; see Render. collapse makes one space of each run of white space in a value.
func (t Template) Fill(attributes user.Attributes, collapse bool) Fill {
	var f Fill
	var b strings.Builder
	for _, p := range t.parts {
		if p.variable == "" {
			b.WriteString(p.text)
			continue
		}
		printed := valueOf(attributes, p.variable, collapse)
		switch {
		case printed == "" && !slices.Contains(f.Missing, p.variable):
			f.Missing = append(f.Missing, p.variable)
		case !Fit(printed) && !slices.Contains(f.Unfit, p.variable):
			f.Unfit = append(f.Unfit, p.variable)
		}
		b.WriteString(printed)
	}
	f.Text = b.String()
	return f
}

// Preview is Fill with the placeholders themselves in place of the values that are missing.
func (t Template) Preview(attributes user.Attributes, collapse bool) Fill {
	f := t.Fill(attributes, collapse)
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.text)
		if p.variable != "" {
			b.WriteString(cmp.Or(valueOf(attributes, p.variable, collapse), "{"+p.variable+"}"))
		}
	}
	f.Text = b.String()
	return f
}

func valueOf(attributes user.Attributes, variable string, collapse bool) string {
	value, _ := attributes.Lookup(strings.Split(variable, ".")...)
	printed := display(value)
	if collapse {
		printed = strings.Join(strings.Fields(printed), " ")
	}
	return printed
}

// ContentVariables is the JSON object that the provider fills a content from; "" when it takes none.
func ContentVariables(mapping map[string]string, attributes user.Attributes, collapse bool) string {
	if len(mapping) == 0 {
		return ""
	}
	values := make(map[string]string, len(mapping))
	for key, name := range mapping {
		values[key] = valueOf(attributes, name, collapse)
	}
	raw, err := json.Marshal(values)
	if err != nil { // texts always marshal
		return ""
	}
	return string(raw)
}

// links finds what looks like the beginning of an address.
var links = regexp.MustCompile(`(?i)\bhttps?:[^\s<>"]*`)

// CheckLinks refuses addresses in the fixed text that nobody could open. A placeholder may stand in the path or the query.
func (t Template) CheckLinks() error {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.text)
		if p.variable != "" {
			b.WriteString("\x00")
		}
	}
	var refused []fault.Field
	for _, link := range links.FindAllString(b.String(), -1) {
		link = strings.TrimRight(link, ".,;:!?)]'\u201d\u2019")
		u, err := url.Parse(strings.ReplaceAll(link, "\x00", "x"))
		host := strings.SplitN(strings.TrimPrefix(link[strings.Index(link, ":")+1:], "//"), "/", 2)[0]
		if err != nil || u.Host == "" || u.Hostname() == "" || !strings.Contains(u.Hostname(), ".") || strings.HasSuffix(u.Hostname(), ".") ||
			strings.Contains(u.Hostname(), "..") || strings.Contains(host, "\x00") {
			refused = append(refused, fault.Field{Name: contentField, Detail: "has an address that cannot be opened: want https:// and a host, such as https://example.com/{id}"})
			break
		}
	}
	return fault.Fields(refused...)
}

// CheckTemplate refuses fixed text that the provider would take for placeholders of its own.
func (t Template) CheckTemplate() error {
	for i, p := range t.parts {
		before := i+1 < len(t.parts) && t.parts[i+1].variable != "" && strings.HasSuffix(p.text, "{")
		after := i > 0 && t.parts[i-1].variable != "" && strings.HasPrefix(p.text, "}")
		if strings.Contains(p.text, "{{") || strings.Contains(p.text, "}}") || before || after {
			return fault.Refuse(contentField, "must not have two braces together, or one beside a placeholder, on WhatsApp: the provider takes them for a placeholder of its own")
		}
	}
	return nil
}

// optOutWords tell how to say no, in the languages whose keywords are understood.
var optOutWords = regexp.MustCompile(`(?i)(^|[^\pL\pN])(stop|stopp|unsubscribe|opt[ -]?out|baja|parar|pare|sair|cancelar|arr[êe]t|d[ée]sabonner|` +
	`abmelden|annulla|disiscrivi|afmelden|uitschrijven|बंद|रोकें|توقف|إلغاء|නවත්වන්න|நிறுத்து)($|[^\pL\pN\pM])`)

// TellsHowToStop reports whether the fixed text says how to get no more such messages.
func (t Template) TellsHowToStop() bool {
	for _, p := range t.parts {
		if optOutWords.MatchString(p.text) {
			return true
		}
	}
	return false
}

// Submission is a text as it is submitted to the provider.
type Submission struct {
	Name     string // of letters, digits and underscores; the same for the same variant
	Locale   string // en_US
	Category Category
	Body     string
	Samples  map[string]string // by placeholder
}

// Submission makes the variant of a template's version ready for the provider.
func (v Variant) Submission(templateID int64, version int, category Category) (Submission, error) {
	t, err := Parse(v.Content)
	if err != nil {
		return Submission{}, err
	}
	locale := ProviderLocale(v.Locale)
	samples := make(map[string]string, len(v.Mapping))
	for key, name := range v.Mapping {
		samples[key] = strings.NewReplacer("_", " ", ".", " ").Replace(name)
	}
	return Submission{
		Name:   "ese_" + strconv.FormatInt(templateID, 10) + "_v" + strconv.Itoa(version) + "_" + strings.ToLower(locale),
		Locale: locale, Category: category, Body: t.ProviderBody(v.Mapping), Samples: samples,
	}, nil
}

// Content is a template as the provider has it.
type Content struct {
	SID       string
	Name      string
	Locale    string
	Type      string
	Body      string            // "" for a type that has none
	Variables map[string]string // its placeholders with their samples
	Category  string            // the provider's word; "" before it was submitted
	Approval  Approval
	Reason    string
	SyncedAt  time.Time
}

// Fits tells why the content is not what the variant says; "" when it is.
func (v Variant) Fits(c Content) string {
	if !SameLocale(v.Locale, c.Locale) {
		return "the content at the provider is in another language: " + c.Locale
	}
	t, err := Parse(v.Content)
	if err != nil || c.Body != "" && !SameBody(t.ProviderBody(v.Mapping), c.Body) {
		return "the content at the provider has another text"
	}
	return ""
}

// Known is a variant of a template's version whose content the provider has.
type Known struct {
	TemplateID int64
	Version    int
	Variant
}

// Listed is a content, and the template that is sent by it; 0 for none.
type Listed struct {
	Content
	TemplateID int64
}
