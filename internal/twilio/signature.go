package twilio

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Twilio's scheme is HMAC-SHA1.
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"mime"
	"net/url"
	"slices"
	"strings"
)

// Sign makes the X-Twilio-Signature of a request to rawURL with a form body: base64 of HMAC-SHA1, keyed by the auth
// token, over the URL (without user and fragment) and each parameter's name and value in the order of names.
func Sign(token, rawURL string, form url.Values) string {
	return base64.StdEncoding.EncodeToString(signature(token, signedURL(rawURL), form))
}

// Verify reports whether a webhook comes from the owner of one of the tokens. rawURL is the public URL exactly as
// Twilio was given it, with its raw query; during a rotation of the token both are given. A form is signed with its
// parameters; any other body through the query parameter bodySHA256.
func Verify(tokens []string, rawURL string, rawBody []byte, contentType, given string) bool {
	want, err := base64.StdEncoding.DecodeString(given)
	if err != nil || len(want) != sha1.Size {
		return false
	}
	target := signedURL(rawURL)
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	var form url.Values
	if sum := u.Query().Get("bodySHA256"); sum != "" {
		if !sameSHA256(rawBody, sum) {
			return false
		}
	} else if len(rawBody) > 0 {
		media, _, err := mime.ParseMediaType(contentType)
		if err != nil || media != "application/x-www-form-urlencoded" {
			return false
		}
		if form, err = url.ParseQuery(string(rawBody)); err != nil {
			return false
		}
	}
	valid := false
	for _, token := range tokens {
		if token == "" {
			continue
		}
		for _, spelling := range spellings(u, target) {
			if hmac.Equal(signature(token, spelling, form), want) {
				valid = true
			}
		}
	}
	return valid
}

// signature signs a repeated name's values as a sorted set, as most of Twilio's libraries do: twilio-go takes the
// first alone, which would let a stranger add others.
func signature(token, target string, form url.Values) []byte {
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(target))
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := slices.Clone(form[name])
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			mac.Write([]byte(name))
			mac.Write([]byte(v))
		}
	}
	return mac.Sum(nil)
}

// signedURL drops what Twilio never signs: the fragment, and user and password. The rest stays as it is, byte for byte.
func signedURL(rawURL string) string {
	rawURL, _, _ = strings.Cut(rawURL, "#")
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return rawURL
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	return scheme + "://" + authority[strings.LastIndexByte(authority, '@')+1:] + rest[end:]
}

// spellings are the URL as given and with its port added or taken away, for Twilio is not consistent about ports.
func spellings(u *url.URL, target string) []string {
	host := u.Host
	other := strings.TrimSuffix(host, ":"+u.Port())
	if u.Port() == "" {
		other = host + ":" + map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return []string{target, strings.Replace(target, "://"+host, "://"+other, 1)}
}

func sameSHA256(body []byte, hexSum string) bool {
	sum := sha256.Sum256(body)
	return subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(strings.ToLower(hexSum))) == 1
}
