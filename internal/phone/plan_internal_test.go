package phone

import (
	"math/rand/v2"
	"regexp/syntax"
	"strconv"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/require"
)

// TestCanonicalIsWhatTheLibrarySays compares the short way with the library's for numbers of every country code and of
// every length.
func TestCanonicalIsWhatTheLibrarySays(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	short := 0
	for code := range 1000 {
		for digits := 3; digits <= 14; digits++ {
			for range 3 {
				input := "+" + strconv.Itoa(code) + randomDigits(random, digits)
				if random.IntN(4) == 0 { // what a national prefix may look like
					input = "+" + strconv.Itoa(code) + string(input[len(input)-1]) + randomDigits(random, digits-1)
				}
				if !canonical(input) {
					continue
				}
				short++
				want, err := parse(input, "")
				require.NoError(t, err, input)
				require.Equal(t, want, Number(input))
				require.Equal(t, regionOf(want), Region(want), input)
			}
		}
	}
	require.Greater(t, short, 1000, "the short way is taken")
	require.Greater(t, len(plans()), 200)
}

func randomDigits(random *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(byte('0' + random.IntN(10)))
	}
	return b.String()
}

// TestRegionIsWhatTheLibrarySays takes numbers that the plans of shared codes provide for, which random ones rarely are, and
// their neighbours.
func TestRegionIsWhatTheLibrarySays(t *testing.T) {
	t.Parallel()
	metadata, err := phonenumbers.MetadataCollection()
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(3, 4))
	regions := map[string]bool{}
	for _, territory := range metadata.GetMetadata() {
		code := int(territory.GetCountryCode())
		if len(phonenumbers.GetRegionCodesForCountryCode(code)) < 2 {
			continue
		}
		for _, kind := range kindsOf(territory) {
			if kind.GetNationalNumberPattern() == "" {
				continue
			}
			pattern, err := syntax.Parse(kind.GetNationalNumberPattern(), syntax.Perl)
			require.NoError(t, err)
			for range 12 {
				number := Number("+" + strconv.Itoa(code) + matching(random, pattern))
				if !canonical(string(number)) {
					continue
				}
				region := regionOf(number)
				regions[region] = true
				require.Equal(t, region, Region(number), string(number))
				for range 3 {
					changed := 1 + random.IntN(6)
					other := number[:len(number)-changed] + Number(randomDigits(random, changed))
					require.Equal(t, regionOf(other), Region(other), string(other))
				}
			}
		}
	}
	for _, region := range []string{"US", "CA", "PR", "GB", "JE", "RU", "KZ", "IT", "NO", "SJ"} {
		require.True(t, regions[region], region)
	}
}

// matching returns digits that match a pattern.
func matching(random *rand.Rand, pattern *syntax.Regexp) string {
	switch pattern.Op {
	case syntax.OpLiteral:
		return string(pattern.Rune)
	case syntax.OpCharClass:
		var all []rune
		for i := 0; i < len(pattern.Rune); i += 2 {
			for r := pattern.Rune[i]; r <= pattern.Rune[i+1]; r++ {
				all = append(all, r)
			}
		}
		return string(all[random.IntN(len(all))])
	case syntax.OpCapture:
		return matching(random, pattern.Sub[0])
	case syntax.OpConcat:
		var b strings.Builder
		for _, sub := range pattern.Sub {
			b.WriteString(matching(random, sub))
		}
		return b.String()
	case syntax.OpAlternate:
		return matching(random, pattern.Sub[random.IntN(len(pattern.Sub))])
	case syntax.OpQuest:
		if random.IntN(2) == 0 {
			return ""
		}
		return matching(random, pattern.Sub[0])
	case syntax.OpRepeat:
		n := pattern.Min
		if pattern.Max > pattern.Min {
			n += random.IntN(pattern.Max - pattern.Min + 1)
		}
		var b strings.Builder
		for range n {
			b.WriteString(matching(random, pattern.Sub[0]))
		}
		return b.String()
	default:
		return ""
	}
}

func TestNational(t *testing.T) {
	t.Parallel()
	require.Equal(t, "771234576", Number("+94771234576").National())
	require.Equal(t, "4155238886", Number("+14155238886").National())
	require.Equal(t, "999", Number("+999").National())
}

func BenchmarkParse(b *testing.B) {
	for name, number := range map[string]string{"own code": "+94771234576", "shared code": "+14165550100", "main country": "+14155238886"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				n, err := Parse(number, "")
				if err != nil || Region(n) == "" {
					b.Fatal(n, err)
				}
			}
		})
	}
}
