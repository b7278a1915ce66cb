package access

import (
	"encoding/hex"
	"time"
)

// Limit bounds how often may be tried to sign in within a window.
type Limit struct {
	Subject string // who or what is counted; holds no personal data
	Most    int    // tries within the window
}

// LimitWindow is how long tries count. It begins with the first.
const LimitWindow = 15 * time.Minute

const (
	triesPerAccount = 10
	triesPerAddress = 100 // an office behind one address has many people
)

// Limits bounds tries for an account, whether it exists or not, and from an address. Those for the account come first.
func Limits(email, address string) []Limit {
	return []Limit{
		{"account:" + hex.EncodeToString(Hash(email)), triesPerAccount},
		{"address:" + address, triesPerAddress},
	}
}
