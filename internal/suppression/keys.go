package suppression

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/event-stream-engine/ese/internal/phone"
)

// MinKeyBytes is the least length of a key. A number has some ten digits: only the key keeps it from being guessed.
const MinKeyBytes = 32

// Keys hash numbers: the first key new entries, the others what was entered under them before. The zero value hashes
// nothing.
type Keys [][]byte

// NewKeys makes keys of secrets, the present one first; each has at least MinKeyBytes.
func NewKeys(present string, earlier ...string) Keys {
	keys := Keys{[]byte(present)}
	for _, secret := range earlier {
		keys = append(keys, []byte(secret))
	}
	return keys
}

// Hash is the HMAC-SHA-256 of a number under the present key.
func (k Keys) Hash(n phone.Number) []byte { return hash(k[0], n) }

// Earlier are the hashes of a number under the earlier keys.
func (k Keys) Earlier(n phone.Number) [][]byte {
	if len(k) < 2 {
		return nil
	}
	hashes := make([][]byte, len(k)-1)
	for i, key := range k[1:] {
		hashes[i] = hash(key, n)
	}
	return hashes
}

// ID tells the present key from others without telling anything about it.
func (k Keys) ID() string { return keyID(k[0]) }

// Knows reports whether one of the keys has that id.
func (k Keys) Knows(id string) bool {
	return slices.ContainsFunc(k, func(key []byte) bool { return keyID(key) == id })
}

func hash(key []byte, n phone.Number) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(n))
	return mac.Sum(nil)
}

// keyID is a hash under the key, of something that is no number.
func keyID(key []byte) string { return hex.EncodeToString(hash(key, "id of this key")[:4]) }
