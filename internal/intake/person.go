package intake

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Person is what one row says about somebody.
type Person struct {
	Phone      phone.Number
	Consent    user.ConsentState // the zero value when the row does not say, or says something unknown
	Attributes user.Attributes
}

// reserved are the keys that are no attributes.
var reserved = map[string]bool{"phone_number": true, "phone": true, "consent_state": true, "consent": true, "attributes": true}

// Parser returns what reads the rows of an import as people. It fails when columns and mapping do not fit, which Open finds
// out as well.
//
// The number is under phone_number or phone, the consent under consent_state or consent, in any letter case, unless the
// mapping says otherwise; everything else is an attribute. In JSON, an object under attributes stands for its members. An
// empty value (null, "") says nothing. The parser's faults name the field.
func (i *Import) Parser() (func(text string) (Person, error), error) {
	if !i.Format.tabular() || len(i.Header) == 0 {
		return func(text string) (Person, error) {
			return parseRecord(json.RawMessage(text), i.Mapping, i.DefaultRegion)
		}, nil
	}
	columns, err := i.columns()
	if err != nil {
		return nil, err
	}
	return func(text string) (Person, error) { return parseCells(text, i.Comma, columns, i.DefaultRegion) }, nil
}

func parseCells(record string, comma rune, columns []column, defaultRegion string) (Person, error) {
	found, err := cells(record, comma)
	if err != nil {
		return Person{}, fault.Refuse("", "is not valid CSV: %v", err)
	}
	if len(found) > len(columns) {
		return Person{}, fault.Refuse("", "has %d cells, but the header has %d", len(found), len(columns))
	}
	p := Person{Attributes: make(user.Attributes, len(found))}
	var number, consent string
	for i, cell := range found {
		c := &columns[i]
		if cell = strings.TrimSpace(cell); cell == "" {
			continue
		}
		switch c.to {
		case toPhone:
			if number == "" || strings.EqualFold(c.name, toPhone) {
				number = cell
			}
		case toConsent:
			if consent == "" || strings.EqualFold(c.name, toConsent) {
				consent = cell
			}
		default:
			if c.path == nil {
				continue
			}
			value, err := c.value(cell)
			if err != nil {
				return Person{}, err
			}
			if err := put(p.Attributes, c.path, value); err != nil {
				return Person{}, err
			}
		}
	}
	err = p.identify(number, consent, defaultRegion)
	return p, err
}

// put sets the attribute at a path.
func put(attributes map[string]any, path []string, value any) error {
	for _, key := range path[:len(path)-1] {
		switch inner := attributes[key].(type) {
		case map[string]any:
			attributes = inner
		case nil:
			next := map[string]any{}
			attributes[key] = next
			attributes = next
		default:
			return fault.Refuse(strings.Join(path, "."), "is within an attribute that is no object")
		}
	}
	last := path[len(path)-1]
	if _, object := attributes[last].(map[string]any); object {
		return fault.Refuse(strings.Join(path, "."), "is an object already")
	}
	attributes[last] = value
	return nil
}

// identify fills in who and whether they agreed.
func (p *Person) identify(number, consent, defaultRegion string) (err error) {
	if number == "" {
		return fault.Refuse("phone_number", "is missing")
	}
	if p.Phone, err = phone.Parse(number, defaultRegion); err != nil {
		return err
	}
	p.Consent, _ = user.ParseConsent("consent_state", consent) // what is unknown is not consent
	return nil
}

// parseRecord reads a JSON object.
func parseRecord(record json.RawMessage, mapping Mapping, defaultRegion string) (Person, error) {
	if len(record) == 0 || record[0] != '{' {
		return Person{}, fault.Refuse("", "must be an object with a phone_number")
	}
	values, err := user.ParseAttributes("", record)
	if err != nil {
		return Person{}, unrooted(err)
	}
	p := Person{Attributes: make(user.Attributes, len(values))}
	var number, consent string
	for key, value := range values {
		if _, elsewhere := mapping[key]; elsewhere || value == nil || value == "" {
			continue
		}
		switch name := strings.ToLower(strings.TrimSpace(key)); name {
		case "phone_number", "phone":
			if number == "" || name == toPhone {
				number = scalar(value)
			}
		case "consent_state", "consent":
			if consent == "" || name == toConsent {
				consent = scalar(value)
			}
		case "attributes":
			nested, ok := value.(map[string]any)
			if !ok {
				p.Attributes[key] = value
				continue
			}
			for k, v := range nested {
				if _, stated := values[k]; !stated && v != nil && v != "" && !reserved[strings.ToLower(k)] {
					p.Attributes[k] = v
				}
			}
		default:
			p.Attributes[key] = value
		}
	}
	for key, target := range mapping {
		if target.To == toPhone {
			number = scalar(values[key])
		} else if target.To == toConsent {
			consent = scalar(values[key])
		} else if err := p.putMapped(key, values[key], target); err != nil {
			return Person{}, err
		}
	}
	err = p.identify(number, consent, defaultRegion)
	return p, err
}

// putMapped sets the attribute that a key of a record is mapped to.
func (p *Person) putMapped(key string, value any, target Target) (err error) {
	if target.To == "" || value == nil || value == "" {
		return nil
	}
	if target.Type != AsWritten {
		_, boolean := value.(bool)
		switch {
		case boolean && target.Type == Boolean:
		case boolean:
			value, err = typed(key, fmt.Sprint(value), target.Type)
		case scalar(value) == "":
			err = fault.Refuse(key, "must be a single value")
		default:
			value, err = typed(key, scalar(value), target.Type)
		}
		if err != nil {
			return err
		}
	}
	return put(p.Attributes, strings.Split(target.To, "."), value)
}

// scalar returns a text or a number as written; "" for anything else.
func scalar(value any) string {
	switch v := value.(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	default:
		return ""
	}
}

// unrooted names the field of a record, which has none itself.
func unrooted(err error) error {
	if f, ok := err.(*fault.Fault); ok && len(f.Fields) > 0 { //nolint:errorlint // it comes from a call that wraps nothing
		return fault.Refuse(strings.TrimPrefix(f.Fields[0].Name, "."), "%s", f.Fields[0].Detail)
	}
	return fmt.Errorf("record: %w", err)
}
