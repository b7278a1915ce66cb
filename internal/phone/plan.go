package phone

import (
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/nyaruka/phonenumbers"
)

// Lists of people hold millions of numbers, nearly all of them written as E.164 already. For those the library's way, a
// dozen regular expressions and a number taken apart and put together again, can be cut short: what a number in canonical
// form says is decided by its country code, its length and its leading digits. Whatever is not that plain goes the
// library's way, and a test holds the two against each other.

// plan is what a country code says about numbers in canonical form.
type plan struct {
	countries []country  // that share the code, the main one first
	lengths   uint32     // bit n: a national number may have n digits
	prefix    *automaton // at the beginning of a national number: it may have to be taken off; nil for none
}

// country is how the numbers of one country are told from those of others with the same code.
type country struct {
	region  string
	leading *automaton // they begin with it; nil when they have to match all and one of any
	all     *automaton
	any     map[int]*automaton // by their length
}

// plans are the country codes, by their digits. A code whose patterns are not understood is none of them: its numbers go the
// library's way.
var plans = sync.OnceValue(func() map[string]*plan {
	metadata, err := phonenumbers.MetadataCollection()
	if err != nil {
		return nil
	}
	territories := map[string]*phonenumbers.PhoneMetadata{}
	for _, territory := range metadata.GetMetadata() {
		territories[territory.GetId()+strconv.Itoa(int(territory.GetCountryCode()))] = territory
	}
	byCode := map[string]*plan{}
	for code := range phonenumbers.GetSupportedCallingCodes() {
		digits := strconv.Itoa(code)
		var sharing []*phonenumbers.PhoneMetadata
		for _, region := range phonenumbers.GetRegionCodesForCountryCode(code) {
			sharing = append(sharing, territories[region+digits])
		}
		if p, err := newPlan(sharing); err == nil {
			byCode[digits] = p
		}
	}
	return byCode
})

func newPlan(sharing []*phonenumbers.PhoneMetadata) (p *plan, err error) {
	if len(sharing) == 0 || sharing[0].GetGeneralDesc().GetNationalNumberPattern() == "" {
		return nil, errors.New("numbering plan: no country rules how its numbers are read")
	}
	p = &plan{}
	for _, n := range sharing[0].GetGeneralDesc().GetPossibleLength() {
		if n > 0 && n <= maxDigits {
			p.lengths |= 1 << n
		}
	}
	if text := sharing[0].GetNationalPrefixForParsing(); text != "" {
		if p.prefix, err = compile(text); err != nil {
			return nil, err
		}
	}
	for _, metadata := range sharing {
		c := country{region: metadata.GetId()}
		if len(c.region) != 2 || c.region == phonenumbers.UNKNOWN_REGION {
			c.region = ""
		}
		if len(sharing) > 1 {
			if err := c.learn(metadata); err != nil {
				return nil, err
			}
		}
		p.countries = append(p.countries, c)
	}
	return p, nil
}

// learn finds out which numbers are the country's.
func (c *country) learn(metadata *phonenumbers.PhoneMetadata) (err error) {
	if text := metadata.GetLeadingDigits(); text != "" {
		c.leading, err = compile(text)
		return err
	}
	if c.all, err = compile(metadata.GetGeneralDesc().GetNationalNumberPattern()); err != nil {
		return err
	}
	patterns := map[int][]string{}
	for _, kind := range kindsOf(metadata) {
		lengths := kind.GetPossibleLength()
		if len(lengths) == 0 {
			lengths = metadata.GetGeneralDesc().GetPossibleLength()
		}
		for _, n := range lengths {
			if pattern := kind.GetNationalNumberPattern(); pattern != "" {
				patterns[int(n)] = append(patterns[int(n)], "(?:"+pattern+")")
			}
		}
	}
	c.any = make(map[int]*automaton, len(patterns))
	for n, alternatives := range patterns {
		if c.any[n], err = compile(strings.Join(alternatives, "|")); err != nil {
			return err
		}
	}
	return nil
}

func kindsOf(m *phonenumbers.PhoneMetadata) []*phonenumbers.PhoneNumberDesc {
	return []*phonenumbers.PhoneNumberDesc{
		m.GetMobile(), m.GetFixedLine(), m.GetTollFree(), m.GetPremiumRate(), m.GetSharedCost(), m.GetVoip(), m.GetPersonalNumber(),
		m.GetPager(), m.GetUan(), m.GetVoicemail(),
	}
}

// has reports whether a national number is one of the country's.
func (c *country) has(national string) bool {
	if c.leading != nil {
		return c.leading.begins(national)
	}
	pattern := c.any[len(national)]
	return pattern != nil && pattern.whole(national) && c.all.whole(national)
}

// planned finds the plan of digits in canonical form, and the national number; nil when they are not that plain.
func planned(n string) (p *plan, national string) {
	if len(n) < 1+minDigits || len(n) > 1+maxDigits || n[0] != '+' || n[1] == '0' {
		return nil, ""
	}
	for i := 1; i < len(n); i++ {
		if n[i] < '0' || n[i] > '9' {
			return nil, ""
		}
	}
	byCode := plans()
	for digits := 1; digits <= 3; digits++ {
		if p := byCode[n[1:1+digits]]; p != nil {
			national = n[1+digits:]
			if national[0] == '0' || p.lengths&(1<<len(national)) == 0 || p.prefix != nil && p.prefix.begins(national) {
				return nil, ""
			}
			return p, national
		}
	}
	return nil, ""
}

// canonical reports whether input is what Parse would return for it.
func canonical(input string) bool {
	p, _ := planned(input)
	return p != nil
}

// Region returns the ISO 3166 code of the number's country. Where the numbering plan cannot tell (a number that is
// possible but not assigned) it is the main country of the country code; "" for numbers of no country and for the
// zero value.
func Region(n Number) string {
	p, national := planned(string(n))
	if p == nil {
		return regionOf(n)
	}
	if len(p.countries) > 1 {
		for i := range p.countries {
			if c := &p.countries[i]; c.has(national) {
				return c.region
			}
		}
	}
	return p.countries[0].region
}
