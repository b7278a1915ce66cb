package intake

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
)

// Column is one of a file's, or a key of its records, as it stands there.
type Column struct {
	Name    string
	Values  []string // of the first rows, "" where a row has none
	Suggest Target   // where it may belong, going by its name
}

// Peek looks at the first rows of an upload, at most so many, and tells its columns, whatever they mean. Its fault is Open's.
func Peek(imp Import, source Source, atMost int) ([]Column, error) {
	reader, err := Open(&imp, source)
	if first := slices.IndexFunc(imp.Header, func(name string) bool { return name != "" }); err != nil && first >= 0 {
		// It has a header in which no column is a number: while nothing is taken over, any will do.
		imp.Mapping = Mapping{imp.Header[first]: {To: toPhone}}
		reader, err = Open(&imp, source)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = reader.Close() }()
	var columns []Column
	at := map[string]int{}
	place := func(name string) int {
		if _, known := at[name]; !known {
			at[name] = len(columns)
			columns = append(columns, Column{Name: name})
		}
		return at[name]
	}
	for _, name := range imp.Header {
		place(name)
	}
	for n := range atMost {
		row, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		for name, value := range imp.values(row) {
			c := &columns[place(name)]
			c.Values = append(c.Values, make([]string, n-len(c.Values))...)
			c.Values = append(c.Values, value)
		}
	}
	columns = slices.DeleteFunc(columns, func(c Column) bool {
		return c.Name == "" || strings.EqualFold(c.Name, "attributes") && !imp.Format.tabular()
	})
	suggest(columns, imp.Format.tabular())
	return columns, nil
}

// values are what a row says, by column; none of a row that cannot be read.
func (i *Import) values(row Row) map[string]string {
	values := map[string]string{}
	if row.Refused() {
		return values
	}
	if i.Format.tabular() {
		found, err := cells(row.Text, i.Comma)
		if err != nil {
			return values
		}
		for n, cell := range found[:min(len(found), len(i.Header))] {
			values[i.Header[n]] = cell
		}
		return values
	}
	var record map[string]json.RawMessage
	if json.Unmarshal([]byte(row.Text), &record) != nil {
		return values
	}
	for key, raw := range record {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		values[key] = text
	}
	return values
}

// known are names that columns of numbers and consent have elsewhere, in lower-case letters and digits alone.
var known = map[string]string{
	"phonenumber": toPhone, "phone": toPhone, "mobile": toPhone, "mobilenumber": toPhone, "mobilephone": toPhone, "cell": toPhone, "cellphone": toPhone,
	"msisdn": toPhone, "tel": toPhone, "telephone": toPhone, "telephonenumber": toPhone, "number": toPhone, "whatsapp": toPhone, "whatsappnumber": toPhone,
	"waid": toPhone, "phone1value": toPhone,
	"consentstate": toConsent, "consent": toConsent, "optin": toConsent, "optinstatus": toConsent, "consentstatus": toConsent, "subscriptionstatus": toConsent,
	"agreed": toConsent, "optedin": toConsent, "whatsappconsent": toConsent, "whatsappoptin": toConsent,
}

// suggest says of each column where it may belong. The first that is named like a number is the number. The titles of a table
// become names as placeholders have them; the keys of records stay what they are.
func suggest(columns []Column, titles bool) {
	slices.SortStableFunc(columns, func(a, b Column) int { return strings.Compare(order(a.Name), order(b.Name)) })
	taken := map[string]bool{}
	for i := range columns {
		c := &columns[i]
		to := known[letters(c.Name)]
		if to == "" || taken[to] {
			to = attributeName(c.Name, titles)
		}
		if taken[to] {
			to = attributeName(c.Name, false)
		}
		if reserved[strings.ToLower(to)] && (to != toPhone && to != toConsent || taken[to]) {
			to = "" // a second number, or a second consent
		}
		taken[to] = true
		c.Suggest = Target{To: to}
	}
}

// attributeName is the name of an attribute for a column.
func attributeName(column string, title bool) string {
	name := strings.ReplaceAll(strings.TrimSpace(column), ".", "_")
	if title {
		name = strings.ToLower(strings.Join(strings.Fields(name), "_"))
	}
	return name
}

// order brings the columns that say who and whether to the front.
func order(name string) string {
	switch known[letters(name)] {
	case toPhone:
		return "1"
	case toConsent:
		return "2"
	default:
		return "3"
	}
}

// letters are the letters and digits of a name, small.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}
