package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
)

// Saved is a template that an operator keeps under a name, in its newest version.
type Saved struct {
	ID        int64
	Name      string
	Content   string // Parse reads it
	Variables []string
	Channel   message.Channel
	Locale    string
	Version   int // counts the changes of what is sent, from 1; a version never changes
	CreatedAt time.Time
	UpdatedAt time.Time

	Category           Category // "" is Marketing
	CollapseWhitespace bool     // one space for each run of white space in a value
	// Variants are what it says in each language, its own first. Complete adds that one from Content.
	Variants []Variant
}

// Complete fills in what follows from the rest: the category, the template's own variant, and of each variant the
// variables, the mapping and how its approval begins.
func (t Saved) Complete() Saved {
	if t.Category == "" {
		t.Category = Marketing
	}
	own := Variant{Locale: t.Locale, Content: t.Content}
	if len(t.Variants) == 0 || !SameLocale(t.Variants[0].Locale, t.Locale) {
		t.Variants = append([]Variant{own}, t.Variants...)
	}
	t.Variants = slices.Clone(t.Variants)
	if t.Variants[0].Content != t.Content { // written anew
		t.Variants[0] = own
	}
	for i := range t.Variants {
		v := &t.Variants[i]
		parsed, _ := Parse(v.Content) // checked by who wrote it
		v.Variables = parsed.Variables()
		if v.Mapping == nil {
			v.Mapping = parsed.Numbering()
		}
		v.Given = v.ContentSID != ""
		v.Approval = Unsubmitted
		if t.Channel != message.WhatsApp {
			v.Approval = NotNeeded
		}
	}
	return t
}

// MaxVariants bounds the languages of one template.
const MaxVariants = 50

// Check refuses what cannot be sent on the template's channel, variant by variant. t is complete.
func (t Saved) Check() error {
	var refused []fault.Field
	refuse := func(field, detail string) { refused = append(refused, fault.Field{Name: field, Detail: detail}) }
	if !slices.Contains(Categories(), t.Category) {
		refuse("category", "must be marketing, utility or authentication")
	}
	for i, v := range t.Variants {
		at := "" // the template's own text
		if i > 0 {
			at = "variants[" + strconv.Itoa(i-1) + "]."
		}
		if err, ok := errors.AsType[*fault.Fault](t.checkVariant(v)); ok {
			for _, f := range err.Fields {
				refuse(at+f.Name, f.Detail)
			}
		}
		if slices.ContainsFunc(t.Variants[:i], func(other Variant) bool { return SameLocale(other.Locale, v.Locale) }) {
			refuse(at+"locale", "has a text already")
		}
	}
	return fault.Fields(refused...)
}

func (t Saved) checkVariant(v Variant) error {
	parsed, err := Parse(v.Content)
	if err != nil {
		return err
	}
	if err := parsed.CheckLength(t.Channel); err != nil {
		return err
	}
	if err := parsed.CheckLinks(); err != nil {
		return err
	}
	if t.Channel != message.WhatsApp {
		if v.ContentSID != "" {
			return fault.Refuse("content_sid", "is for WhatsApp alone")
		}
		return nil
	}
	if t.Category == Authentication && v.ContentSID == "" {
		return fault.Refuse("content_sid", "must name a content at the provider: WhatsApp has a form of its own for authentication")
	}
	if err := parsed.CheckMapping("content_variables", v.Mapping); err != nil {
		return err
	}
	return parsed.CheckTemplate()
}

// SameAs reports whether t sends what the stored template sends, so that it is no new version. Both are complete.
func (t Saved) SameAs(stored Saved) bool {
	return t.Channel == stored.Channel && t.Category == stored.Category && t.CollapseWhitespace == stored.CollapseWhitespace &&
		slices.EqualFunc(t.Variants, stored.Variants, func(a, b Variant) bool {
			sameSID := a.ContentSID == b.ContentSID || a.ContentSID == "" && !b.Given
			return a.Locale == b.Locale && a.Content == b.Content && maps.Equal(a.Mapping, b.Mapping) && sameSID
		})
}

// Warning is what an author should know of a template that can be saved all the same.
type Warning struct {
	Code   string
	Locale string
	Detail string
}

// The codes of warnings.
const (
	NoOptOutLine = "no_opt_out_line"
	TooLong      = "too_long_for_template"
)

// Warnings tells what is doubtful about the template's texts.
func (t Saved) Warnings() []Warning {
	warnings := []Warning{}
	for _, v := range t.Variants {
		parsed, err := Parse(v.Content)
		if err != nil {
			continue
		}
		if t.Category == Marketing && !parsed.TellsHowToStop() {
			warnings = append(warnings, Warning{NoOptOutLine, v.Locale, "a marketing message ought to say how to get no more of them, such as: Reply STOP to opt out."})
		}
		if t.Channel == message.WhatsApp && parsed.minLength() > MaxTemplateLength {
			warnings = append(warnings, Warning{TooLong, v.Locale, fmt.Sprintf(
				"WhatsApp takes templates of at most %d characters: only free text, within 24 hours of the recipient's message, may be longer", MaxTemplateLength)})
		}
	}
	return warnings
}

// CheckOptOut refuses a marketing template of which a text does not say how to get no more of them.
func (t Saved) CheckOptOut() error {
	for _, w := range t.Warnings() {
		if w.Code == NoOptOutLine {
			return fault.Refuse(contentField, "must say how to opt out (%s), such as: Reply STOP to opt out.", w.Locale)
		}
	}
	return nil
}
