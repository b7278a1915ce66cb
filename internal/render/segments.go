package render

import (
	"strings"
	"unicode/utf16"
)

// The characters of an SMS in its own alphabet (GSM 03.38): those that take one place, and those that take two.
const (
	gsmSingle = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmDouble = "\f^{}\\[~]|€"
)

// Segments is how many messages a carrier makes of an SMS, and bills: one of up to 160 characters, or of 70 when any of
// them is not of the SMS alphabet; longer ones are split into parts of 153 or 67. An empty body is one.
func Segments(body string) int {
	places := 0
	for _, r := range body {
		switch {
		case strings.ContainsRune(gsmSingle, r):
			places++
		case strings.ContainsRune(gsmDouble, r):
			places += 2
		default:
			return parts(len(utf16.Encode([]rune(body))), 70, 67)
		}
	}
	return parts(places, 160, 153)
}

func parts(places, alone, each int) int {
	if places <= alone {
		return 1
	}
	return (places + each - 1) / each
}
