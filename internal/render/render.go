// Package render turns a template and a person's attributes into the text of a message.
//
// A template is text with placeholders: {name}, or {address.city} for a value inside an object. {{ and }} stand for
// one brace. Placeholders are looked up and nothing else: values are never read as templates, and there is no
// formatting, no expression and no way from a value to anything that is not an attribute.
package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/user"
)

// Field names of a template, as faults name them.
const (
	contentField   = "content"
	variablesField = "variables"
)

const (
	maxContentBytes = 16 << 10 // far above any channel's limit: placeholders are longer than their values
	maxNameBytes    = 256
)

// unavailable are properties of a person which are not attributes, so that no template could ever fill them.
var unavailable = []string{"phone_number", "consent_state"}

// Template is a parsed template; make one with Parse. The zero value renders as nothing.
type Template struct {
	parts []part
}

// part is fixed text or, when variable is set, a placeholder.
type part struct {
	text     string
	variable string
}

// Parse reads a template. Its faults tell at which character (from 1) the mistake is.
func Parse(content string) (Template, error) {
	switch {
	case strings.TrimSpace(content) == "":
		return Template{}, fault.Refuse(contentField, "must not be empty")
	case len(content) > maxContentBytes:
		return Template{}, fault.Refuse(contentField, "is too long: at most %d bytes", maxContentBytes)
	case !utf8.ValidString(content) || strings.ContainsRune(content, 0):
		return Template{}, fault.Refuse(contentField, "must be UTF-8 text without NUL characters")
	}
	var template Template
	var text strings.Builder
	for i := 0; i < len(content); {
		rest := content[i:]
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			text.WriteByte(rest[0])
			i += 2
		case rest[0] == '{':
			name, problem := placeholder(rest)
			if problem != "" {
				return Template{}, fault.Refuse(contentField, "character %d: %s", utf8.RuneCountInString(content[:i])+1, problem)
			}
			if text.Len() > 0 {
				template.parts = append(template.parts, part{text: text.String()})
				text.Reset()
			}
			template.parts = append(template.parts, part{variable: name})
			i += len("{") + len(name) + len("}")
		case rest[0] == '}':
			return Template{}, fault.Refuse(contentField, "character %d: } without {; write }} for the brace itself", utf8.RuneCountInString(content[:i])+1)
		default:
			n := strings.IndexAny(rest, "{}")
			if n < 0 {
				n = len(rest)
			}
			text.WriteString(rest[:n])
			i += n
		}
	}
	if text.Len() > 0 {
		template.parts = append(template.parts, part{text: text.String()})
	}
	return template, nil
}

// placeholder reads the name at the start of "{name}…"; problem says what is wrong with it.
func placeholder(rest string) (name, problem string) {
	end := strings.IndexAny(rest[1:], "{}")
	if end < 0 || rest[1+end] == '{' {
		return "", "{ without }; write {{ for the brace itself"
	}
	name = rest[1 : 1+end]
	switch {
	case len(name) > maxNameBytes || !validName(name):
		return "", "a placeholder holds one name of letters, digits and underscores, or several joined by dots, such as {name} or {address.city}"
	case slices.Contains(unavailable, name):
		return "", "{" + name + "} is not an attribute and cannot be used in a message"
	}
	return name, ""
}

func validName(name string) bool {
	for key := range strings.SplitSeq(name, ".") {
		if key == "" || strings.ContainsFunc(key, func(r rune) bool {
			return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) // marks are vowels in many scripts
		}) {
			return false
		}
	}
	return true
}

// Variables returns the names of the placeholders, each once, in order of appearance.
func (t Template) Variables() []string {
	names := []string{}
	for _, p := range t.parts {
		if p.variable != "" && !slices.Contains(names, p.variable) {
			names = append(names, p.variable)
		}
	}
	return names
}

// CheckDeclared compares the variables that an author declared with those of the text, both ways. nil means that the
// author leaves it to the text; an empty list declares that there are none.
func (t Template) CheckDeclared(declared []string) error {
	if declared == nil {
		return nil
	}
	var refused []fault.Field
	used := t.Variables()
	for i, name := range declared {
		at := fmt.Sprintf("%s[%d]", variablesField, i)
		if !slices.Contains(used, name) {
			refused = append(refused, fault.Field{Name: at, Detail: "is declared, but the text has no placeholder of that name"})
		} else if slices.Contains(declared[:i], name) {
			refused = append(refused, fault.Field{Name: at, Detail: "is declared twice"})
		}
	}
	for _, name := range used {
		if !slices.Contains(declared, name) {
			refused = append(refused, fault.Field{Name: variablesField, Detail: "does not declare " + name + ", which the text uses"})
		}
	}
	return fault.Fields(refused...)
}

// Render fills the template. missing names the variables without a usable value: absent, null, empty text, or a list
// or object; the text then has nothing in their place and must not be sent. 0 and false are values like any other.
func (t Template) Render(attributes user.Attributes) (text string, missing []string) {
	f := t.Fill(attributes, false)
	return f.Text, f.Missing
}

// display returns a value as people read it, "" when it has no such form.
func display(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int:
		return strconv.Itoa(v)
	case json.Number:
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), "eE") {
			return strconv.FormatFloat(f, 'f', -1, 64)
		}
		return v.String()
	default:
		return ""
	}
}

// MaxLength is how long a body may be on a channel, in the units of Length.
func MaxLength(channel message.Channel) int {
	switch channel {
	case message.WhatsApp, message.SMS:
		return 1600 // the provider's limit of a message body, whatever the channel
	default:
		return 0
	}
}

// Length measures a body in UTF-16 code units: never fewer than the characters a provider may count.
func Length(body string) int {
	n := 0
	for _, r := range body {
		n += utf16.RuneLen(r)
	}
	return n
}

// CheckLength refuses a template whose fixed text alone is too long for a channel, or leaves no room for its values.
func (t Template) CheckLength(channel message.Channel) error {
	length := t.minLength()
	if limit := MaxLength(channel); length > limit {
		return fault.Refuse(contentField, "is too long for %s: at least %d characters once filled, at most %d are allowed", channel, length, limit)
	}
	return nil
}

// minLength is the least length of the filled template.
func (t Template) minLength() int {
	length := 0
	for _, p := range t.parts {
		if p.variable != "" {
			length++ // at least one character each, else the value counts as missing
		}
		length += Length(p.text)
	}
	return length
}
