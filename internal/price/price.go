// Package price estimates what messages cost, by a table that the operator keeps. Pure.
package price

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"regexp"
	"slices"

	"github.com/event-stream-engine/ese/internal/message"
)

// AnyCountry stands in a table for every country that it does not name.
const AnyCountry = "*"

// Table holds what a message costs, by channel and country. The zero value holds no price at all.
type Table struct {
	Currency string // ISO 4217; "" in a table without prices
	units    map[message.Channel]map[string]*big.Rat
}

var (
	currency = regexp.MustCompile(`^[A-Z]{3}$`)
	country  = regexp.MustCompile(`^([A-Z]{2}|\*)$`)
	amount   = regexp.MustCompile(`^\d{1,6}(\.\d{1,8})?$`)
)

// Parse reads a table such as
//
//	{"currency": "USD", "whatsapp": {"LK": "0.0455", "*": "0.08"}, "sms": {"LK": "0.2761"}}
//
// Prices are decimals in text: of a message by WhatsApp, of a segment by SMS.
func Parse(raw []byte) (Table, error) {
	var file struct {
		Currency string            `json:"currency"`
		WhatsApp map[string]string `json:"whatsapp"`
		SMS      map[string]string `json:"sms"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return Table{}, fmt.Errorf("price table: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Table{}, errors.New("price table: there is more after the object")
	}
	if !currency.MatchString(file.Currency) {
		return Table{}, fmt.Errorf("price table: currency %q must be three capital letters such as USD", file.Currency)
	}
	t := Table{Currency: file.Currency, units: map[message.Channel]map[string]*big.Rat{}}
	for channel, prices := range map[message.Channel]map[string]string{message.WhatsApp: file.WhatsApp, message.SMS: file.SMS} {
		t.units[channel] = map[string]*big.Rat{}
		for _, region := range slices.Sorted(maps.Keys(prices)) {
			if !country.MatchString(region) {
				return Table{}, fmt.Errorf("price table: %s.%s must be a country such as LK, or * for all others", channel, region)
			}
			unit, ok := new(big.Rat).SetString(prices[region])
			if !ok || !amount.MatchString(prices[region]) {
				return Table{}, fmt.Errorf("price table: %s.%s must be an amount in text such as \"0.0455\"", channel, region)
			}
			t.units[channel][region] = unit
		}
	}
	return t, nil
}

// IsZero tells whether the table holds no price.
func (t Table) IsZero() bool {
	return len(t.units[message.WhatsApp]) == 0 && len(t.units[message.SMS]) == 0
}

// Estimate is what messages cost, as far as the table tells.
type Estimate struct {
	Currency string   // "" when the table holds no price
	Amount   string   // a decimal, of what has a price; "" when nothing has one
	Priced   int      // units (messages, or segments of SMS) that have a price
	Unpriced int      // units that have none
	Unknown  []string // their countries, sorted; "" is a number whose country is not known
}

// Estimate adds up the units of each country on a channel.
func (t Table) Estimate(channel message.Channel, units map[string]int) Estimate {
	e := Estimate{Currency: t.Currency}
	sum := new(big.Rat)
	for _, region := range slices.Sorted(maps.Keys(units)) {
		n := units[region]
		unit, ok := t.units[channel][region]
		if !ok {
			unit, ok = t.units[channel][AnyCountry]
		}
		switch {
		case n == 0:
		case !ok:
			e.Unpriced += n
			e.Unknown = append(e.Unknown, region)
		default:
			e.Priced += n
			sum.Add(sum, new(big.Rat).Mul(unit, big.NewRat(int64(n), 1)))
		}
	}
	if e.Priced > 0 {
		e.Amount = sum.FloatString(4)
	}
	return e
}
