package access

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"image/png"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/event-stream-engine/ese/internal/fault"
)

// issuer names the engine in an authenticator.
const issuer = "Event Stream Engine"

// stepSeconds is how long a code of an authenticator is shown; a neighbouring step is taken as well, for clocks that are not
// quite right.
const stepSeconds = 30

const factorBytes = 20

// Factor is a second factor that is being set up.
type Factor struct {
	Secret string // base32, for those who type it
	PNG    []byte // the QR code
}

// NewFactor makes a second factor for the account with that address.
func NewFactor(email string) (Factor, error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: email, SecretSize: factorBytes})
	if err != nil {
		return Factor{}, fmt.Errorf("second factor: %w", err)
	}
	return drawFactor(key)
}

// FactorOf shows a second factor again whose secret is known.
func FactorOf(secret, email string) (Factor, error) {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil || len(raw) != factorBytes {
		return Factor{}, fault.Refuse("secret", "must be the key that was shown")
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: email, Secret: raw})
	if err != nil {
		return Factor{}, fmt.Errorf("second factor: %w", err)
	}
	return drawFactor(key)
}

func drawFactor(key *otp.Key) (Factor, error) {
	picture, err := key.Image(240, 240)
	if err != nil {
		return Factor{}, fmt.Errorf("QR code: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		return Factor{}, fmt.Errorf("QR code: %w", err)
	}
	return Factor{Secret: key.Secret(), PNG: b.Bytes()}, nil
}

// CodeAt is the code that an authenticator with that secret shows at a time.
func CodeAt(secret string, at time.Time) (string, error) {
	code, err := totp.GenerateCode(secret, at)
	if err != nil {
		return "", fmt.Errorf("code: %w", err)
	}
	return code, nil
}

// CodeStep finds the time step around now whose code this is, later than the one used last: a code counts once.
func CodeStep(secret, code string, used int64, now time.Time) (step int64, ok bool) {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	present := now.Unix() / stepSeconds
	for s := present - 1; s <= present+1; s++ {
		right, err := CodeAt(secret, time.Unix(s*stepSeconds, 0))
		if err == nil && s > used && subtle.ConstantTimeCompare([]byte(right), []byte(code)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok
}

const recoveryCodes = 10

// NewRecoveryCodes makes the codes that stand in for a lost authenticator, each good once.
func NewRecoveryCodes() []string {
	codes := make([]string, recoveryCodes)
	for i := range codes {
		random := make([]byte, 10)
		_, _ = rand.Read(random) // never fails: it aborts the program instead
		text := strings.ToLower(base32.StdEncoding.EncodeToString(random))
		codes[i] = text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
	}
	return codes
}

// HashRecoveryCode is what is stored of a recovery code: 80 random bits, which a plain hash does not give back.
func HashRecoveryCode(code string) []byte {
	return Hash(strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(code)))
}
