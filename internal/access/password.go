package access

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"

	"github.com/event-stream-engine/ese/internal/fault"
)

// Bounds of a password, in characters. A long one is no risk: it is hashed to the same size.
const (
	MinPassword = 12
	MaxPassword = 256
)

// hashing is what a guess costs: 19 MiB and two passes, the least that OWASP asks of argon2id.
var hashing = &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// CheckPassword refuses a password that is too easily guessed for the account with that address.
func CheckPassword(field, password, email string) error {
	switch n := utf8.RuneCountInString(password); {
	case n < MinPassword:
		return fault.Refuse(field, "must have at least %d characters", MinPassword)
	case n > MaxPassword:
		return fault.Refuse(field, "must have at most %d characters", MaxPassword)
	}
	name, _, _ := strings.Cut(email, "@")
	switch lower := strings.ToLower(password); {
	case strings.Count(password, password[:1]) == len(password):
		return fault.Refuse(field, "must not be one character over and over")
	case email != "" && (lower == email || lower == name):
		return fault.Refuse(field, "must not be the e-mail address")
	}
	return nil
}

// HashPassword hashes a password for storing. It takes tens of milliseconds and as many megabytes.
func HashPassword(password string) (string, error) {
	defer enter()()
	hash, err := argon2id.CreateHash(password, hashing)
	if err != nil {
		return "", fmt.Errorf("password hash: %w", err)
	}
	return hash, nil
}

// SamePassword reports whether a stored hash is that of the password. Without a hash it does the same work, so that its time does
// not tell whether an account exists, and reports false.
func SamePassword(hash, password string) bool {
	if utf8.RuneCountInString(password) > MaxPassword {
		password = "" // never anybody's; hashed all the same
	}
	known := hash != ""
	if !known {
		hash = nobody()
	}
	defer enter()()
	same, err := argon2id.ComparePasswordAndHash(password, hash)
	return known && err == nil && same
}

// nobody is the hash of a password that nobody has.
var nobody = sync.OnceValue(func() string {
	hash, err := argon2id.CreateHash(NewToken(), hashing)
	if err != nil {
		panic(err) // only without randomness, of which there is no end
	}
	return hash
})

// slots bounds how many passwords are hashed at a time, and so the memory that a crowd at the door can take.
var slots = make(chan struct{}, 4)

func enter() (leave func()) {
	slots <- struct{}{}
	return func() { <-slots }
}
