package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/user"
)

// attributeType is how the value of an attribute is entered.
type attributeType struct{ Name, Label string }

// The types. What is nested, and what is nothing, is entered as JSON.
const (
	typeText    = "text"
	typeNumber  = "number"
	typeBoolean = "boolean"
	typeJSON    = "json"
)

var attributeTypes = []attributeType{{typeText, "Text"}, {typeNumber, "Number"}, {typeBoolean, "Yes or no"}, {typeJSON, "JSON"}}

// attributeRow is one attribute in the editor.
type attributeRow struct {
	Name, Type, Value string
	Problem           string
}

const spareRows = 2 // blank ones, for pages without scripts

func blankRows() []attributeRow { return make([]attributeRow, spareRows) }

// attributeRows writes attributes for the editor, by name.
func attributeRows(attributes user.Attributes) ([]attributeRow, error) {
	var rows []attributeRow
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		row := attributeRow{Name: name}
		switch v := attributes[name].(type) {
		case string:
			row.Type, row.Value = typeText, v
		case json.Number:
			row.Type, row.Value = typeNumber, v.String()
		case bool:
			row.Type, row.Value = typeBoolean, strconv.FormatBool(v)
		default:
			raw, err := json.MarshalIndent(v, "", "  ")
			if err != nil {
				return nil, fmt.Errorf("attributes: %w", err)
			}
			row.Type, row.Value = typeJSON, string(raw)
		}
		rows = append(rows, row)
	}
	return append(rows, blankRows()...), nil
}

// readAttributes reads the editor. Rows without a name and a value say nothing. The fault names attributes[i] for the row of
// that number, and attributes for all of them.
func readAttributes(f *form) (rows []attributeRow, attributes user.Attributes, err error) {
	names, types, values := f.Values["attribute"], f.Values["type"], f.Values["value"]
	if len(names) != len(types) || len(names) != len(values) {
		return nil, nil, fault.Refuse("attributes", "are incomplete: load the page anew")
	}
	attributes = user.Attributes{}
	var refused []fault.Field
	for i := range names {
		row := attributeRow{Name: strings.TrimSpace(names[i]), Type: types[i], Value: values[i]}
		rows = append(rows, row)
		if row.Name == "" && strings.TrimSpace(row.Value) == "" {
			continue
		}
		value, problem := row.read()
		if _, twice := attributes[row.Name]; twice {
			problem = "has the name of another row"
		}
		if problem != "" {
			refused = append(refused, fault.Field{Name: fmt.Sprintf("attributes[%d]", i), Detail: problem})
			continue
		}
		attributes[row.Name] = value
	}
	if err := fault.Fields(refused...); err != nil {
		return rows, nil, err
	}
	raw, err := json.Marshal(attributes)
	if err != nil {
		return rows, nil, fmt.Errorf("attributes: %w", err)
	}
	attributes, err = user.ParseAttributes("attributes", raw)
	return rows, attributes, err
}

// read gives a row's value its type; problem says why that cannot be.
func (r attributeRow) read() (value any, problem string) {
	text := strings.TrimSpace(r.Value)
	if r.Name == "" {
		return nil, "needs a name"
	}
	switch r.Type {
	case typeText:
		return r.Value, ""
	case typeNumber:
		value, ok := readJSON(text)
		if number, is := value.(json.Number); ok && is && user.ReasonableNumber(number) {
			return number, ""
		}
		return nil, "must be a number such as 12.5"
	case typeBoolean:
		switch strings.ToLower(text) {
		case "true", "yes", "1":
			return true, ""
		case "false", "no", "0":
			return false, ""
		}
		return nil, "must be true or false"
	case typeJSON:
		if value, ok := readJSON(text); ok {
			return value, ""
		}
		return nil, `must be JSON, such as {"city": "Colombo"} or ["a", "b"]`
	default:
		return nil, "must have a type from the list"
	}
}

func readJSON(text string) (value any, ok bool) {
	if !json.Valid([]byte(text)) {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.UseNumber()
	return value, decoder.Decode(&value) == nil
}

// judged notes beside each row what the form says of it.
func judged(rows []attributeRow, f *form) []attributeRow {
	for i := range rows {
		rows[i].Problem = f.Problem(fmt.Sprintf("attributes[%d]", i))
	}
	return rows
}
