// Package phone holds telephone numbers in their one canonical form, E.164, and what a number alone reveals: its
// country and the time zones its owner may live in.
package phone

import (
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/unicode/norm"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Number is a telephone number in E.164: '+', country code, national number; 15 digits at most. Make one with Parse.
// The zero value is no number. It masks itself in structured logs.
type Number string

// maxInput bounds what Parse looks at, in bytes: the longest number with separators and a channel prefix is far shorter.
const maxInput = 64

const (
	minDigits = 7 // country code included; shorter ones are service codes, not people
	maxDigits = 15
)

// Parse reads a number as people and providers write it: with a channel prefix (whatsapp:, sms:), separators, brackets,
// an international 00, or nationally when defaultRegion (ISO 3166, such as "LK") is given.
//
// Behind a channel prefix a number is always international, so a missing '+' is restored there; a form decoder turns it
// into a space. Without a prefix a leading space stands for '+' only when there is no default region.
//
// A number must be possible (known country code, right length); it need not be one that the country's plan has already
// assigned, because plans change faster than this program and the provider gives the final answer anyway.
//
// The fault of a refusal never repeats the input.
func Parse(input, defaultRegion string) (Number, error) {
	if len(input) > maxInput {
		return "", refuse("is too long: at most %d characters", maxInput)
	}
	if canonical(input) {
		return Number(input), nil
	}
	return parse(input, defaultRegion)
}

// parse is Parse by the library alone.
func parse(input, defaultRegion string) (Number, error) {
	rest, prefixed := cutPrefix(norm.NFKC.String(input))
	lostPlus := prefixed || (defaultRegion == "" && strings.HasPrefix(rest, " "))
	digits, ok := strip(rest)
	if !ok {
		return "", refuse("may hold digits, spaces, dashes, dots, brackets and a leading + only, such as +94 77 123 4567")
	}
	switch {
	case strings.HasPrefix(digits, "+"):
	case strings.HasPrefix(digits, "00"):
		digits = "+" + digits[2:]
	case lostPlus && digits != "":
		digits = "+" + digits
	case defaultRegion == "":
		return "", refuse("must be international: + and the country code first, such as +94771234567")
	}

	parsed, err := phonenumbers.Parse(digits, defaultRegion)
	if err != nil {
		return "", refuse("is not a telephone number with a known country code, such as +94771234567")
	}
	number := phonenumbers.Format(parsed, phonenumbers.E164)
	if n := len(number) - 1; phonenumbers.IsPossibleNumberWithReason(parsed) != phonenumbers.IS_POSSIBLE || n < minDigits || n > maxDigits {
		return "", refuse("has too few or too many digits for its country")
	}
	return Number(number), nil
}

func refuse(format string, args ...any) error { return fault.Refuse("phone_number", format, args...) }

// KnownRegion reports whether region (ISO 3166, such as "LK") can be a default region.
func KnownRegion(region string) bool { return phonenumbers.GetSupportedRegions()[region] }

// KnownCallingCode reports whether code, digits such as "94", is a country calling code. None is the beginning of another.
func KnownCallingCode(code string) bool {
	n, err := strconv.Atoi(code)
	return err == nil && phonenumbers.GetSupportedCallingCodes()[n]
}

// CallingCode returns the digits of the number's country calling code; "" for the zero value.
func (n Number) CallingCode() string { return strings.TrimPrefix(n.countryPrefix(), "+") }

// cutPrefix removes a channel prefix, whatever its case.
func cutPrefix(s string) (rest string, found bool) {
	for _, prefix := range []string{"whatsapp:", "sms:"} {
		trimmed := strings.TrimLeftFunc(s, unicode.IsSpace)
		if len(trimmed) >= len(prefix) && strings.EqualFold(trimmed[:len(prefix)], prefix) {
			return trimmed[len(prefix):], true
		}
	}
	return s, false
}

// strip removes separators and the invisible marks that address books add. ok is false when anything remains that
// is neither an ASCII digit nor one leading '+'.
func strip(s string) (digits string, ok bool) {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9', r == '+' && b.Len() == 0:
			b.WriteRune(r)
		case r == '\t', unicode.In(r, unicode.Zs, unicode.Pd, unicode.Cf), strings.ContainsRune("().[]/\u2212", r):
		default:
			return "", false
		}
	}
	return b.String(), true
}

// String returns the full number: personal data, for the provider and the database, never for a log or an error.
func (n Number) String() string { return string(n) }

// Masked returns country code and last four digits: +94…4576.
func (n Number) Masked() string {
	const shown = 4
	if len(n) <= shown {
		return "…"
	}
	return n.countryPrefix() + "…" + string(n[len(n)-shown:])
}

// National returns the digits behind the country code; all of them when the code is unknown.
func (n Number) National() string {
	return strings.TrimPrefix(strings.TrimPrefix(string(n), n.countryPrefix()), "+")
}

// LogValue keeps the full number out of structured logs.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.Masked()) }

func (n Number) countryPrefix() string {
	if code := n.countryCode(); code != 0 {
		return "+" + strconv.Itoa(code)
	}
	return ""
}

func (n Number) countryCode() int {
	parsed, err := phonenumbers.Parse(string(n), "")
	if err != nil {
		return 0
	}
	return int(parsed.GetCountryCode())
}

// Zones returns the IANA zones that the number's prefix allows, sorted: often one, three for a British mobile, dozens
// for a toll-free number, none when the prefix tells nothing. A number says where it was issued, not where its owner
// is: what a person states about themselves comes first.
func Zones(n Number) []string {
	found, err := phonenumbers.GetTimezonesForPrefix(string(n))
	if err != nil {
		return nil
	}
	zones := slices.DeleteFunc(slices.Clone(found), func(zone string) bool {
		return zone == "" || zone == phonenumbers.UNKNOWN_TIMEZONE
	})
	slices.Sort(zones)
	return slices.Compact(zones)
}

// regionOf is Region by the library alone.
func regionOf(n Number) string {
	parsed, err := phonenumbers.Parse(string(n), "")
	if err != nil {
		return ""
	}
	region := phonenumbers.GetRegionCodeForNumber(parsed)
	if region == "" {
		region = phonenumbers.GetRegionCodeForCountryCode(int(parsed.GetCountryCode()))
	}
	if len(region) != 2 || region == phonenumbers.UNKNOWN_REGION {
		return ""
	}
	return region
}
