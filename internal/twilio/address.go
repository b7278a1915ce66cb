package twilio

import (
	"errors"
	"strings"

	"github.com/event-stream-engine/ese/internal/message"
)

const whatsAppPrefix = "whatsapp:"

var errAddress = errors.New("not an SMS or WhatsApp address")

// Address writes a number as Twilio addresses it on a channel: whatsapp:+94771234567, or +94771234567 for SMS.
func Address(channel message.Channel, e164 string) string {
	if channel == message.WhatsApp {
		return whatsAppPrefix + e164
	}
	return e164
}

// ParseAddress is the inverse of Address. It also reads a plus that a form decoder turned into a space, and a
// WhatsApp address that lacks its plus, since WhatsApp knows no other numbers. Its error never repeats the address.
func ParseAddress(address string) (message.Channel, string, error) {
	channel, number := message.SMS, address
	if len(address) >= len(whatsAppPrefix) && strings.EqualFold(address[:len(whatsAppPrefix)], whatsAppPrefix) {
		channel, number = message.WhatsApp, address[len(whatsAppPrefix):]
	}
	digits, plus := strings.CutPrefix(number, "+")
	if !plus {
		digits, plus = strings.CutPrefix(number, " ")
	}
	if (!plus && channel == message.SMS) || !isE164(digits) {
		return "", "", errAddress
	}
	return channel, "+" + digits, nil
}

// isE164 judges the digits after the plus.
func isE164(digits string) bool {
	if len(digits) < 7 || len(digits) > 15 || digits[0] == '0' {
		return false
	}
	for _, r := range digits {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}
