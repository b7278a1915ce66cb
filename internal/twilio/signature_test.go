package twilio

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twilio/twilio-go/client"
)

const formType = "application/x-www-form-urlencoded"

// The example that Twilio's documentation and libraries share.
const (
	vectorToken     = "12345"
	vectorURL       = "https://example.com/myapp.php?foo=1&bar=2"
	vectorSignature = "L/OH5YylLD5NRKLltdqwSvS0BnU="
)

var vectorForm = url.Values{
	"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675310"}, "Digits": {"1234"}, "From": {"+14158675310"}, "To": {"+18005551212"},
}

func TestSignatureVector(t *testing.T) {
	t.Parallel()
	require.Equal(t, vectorSignature, Sign(vectorToken, vectorURL, vectorForm))
	require.True(t, Verify([]string{vectorToken}, vectorURL, []byte(vectorForm.Encode()), formType, vectorSignature))
}

func TestSignaturesAreThoseOfTwilio(t *testing.T) {
	t.Parallel()
	validator := client.NewRequestValidator(testToken)
	for name, tc := range map[string]struct {
		url  string
		form url.Values
	}{
		"Status":    {"https://example.com/webhooks/status?attempt=018f", url.Values{"MessageSid": {"SM1"}, "MessageStatus": {"sent"}}},
		"Emoji":     {"https://example.com/in", url.Values{"Body": {"Grüße 👋  "}, "ProfileName": {""}}},
		"ByteOrder": {"https://example.com/in", url.Values{"a": {"1"}, "B": {"2"}, "Z": {"3"}, "_": {"4"}}},
		"Port":      {"http://localhost:8000/in?x=a%20b&y=c+d", url.Values{"From": {"whatsapp:+94771234567"}}},
		"Empty":     {"http://localhost:8000/in", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := []byte(tc.form.Encode())
			require.True(t, validator.ValidateBody(tc.url, body, Sign(testToken, tc.url, tc.form)))
			require.True(t, Verify([]string{testToken}, tc.url, body, formType+"; charset=UTF-8", Sign(testToken, tc.url, tc.form)))
		})
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	const target = "https://example.com/webhooks/inbound?x=1"
	form := url.Values{"Body": {"Hi"}, "From": {"whatsapp:+94771234567"}}
	body := form.Encode()
	signed := Sign(testToken, target, form)
	jsonBody := `{"a":1}`
	sum := sha256.Sum256([]byte(jsonBody))
	jsonURL := target + "&bodySHA256=" + hex.EncodeToString(sum[:])
	repeated := url.Values{"Media": {"b", "a", "b"}}
	for name, tc := range map[string]struct {
		tokens      []string
		url         string
		body        string
		contentType string
		signature   string
		want        bool
	}{
		"Valid":              {[]string{testToken}, target, body, formType, signed, true},
		"RotatingToken":      {[]string{"newer", testToken}, target, body, formType, signed, true},
		"ForeignToken":       {[]string{"newer"}, target, body, formType, signed, false},
		"NoToken":            {nil, target, body, formType, signed, false},
		"EmptyToken":         {[]string{""}, target, body, formType, Sign("", target, form), false},
		"NoSignature":        {[]string{testToken}, target, body, formType, "", false},
		"NotBase64":          {[]string{testToken}, target, body, formType, "%%%", false},
		"OtherBody":          {[]string{testToken}, target, body + "&x=1", formType, signed, false},
		"AddedValue":         {[]string{testToken}, target, body + "&Body=STOP", formType, signed, false},
		"OtherQuery":         {[]string{testToken}, "https://example.com/webhooks/inbound?x=2", body, formType, signed, false},
		"OtherScheme":        {[]string{testToken}, "http://example.com/webhooks/inbound?x=1", body, formType, signed, false},
		"OtherHost":          {[]string{testToken}, "https://example.org/webhooks/inbound?x=1", body, formType, signed, false},
		"TrailingSlash":      {[]string{testToken}, "https://example.com/webhooks/inbound/?x=1", body, formType, signed, false},
		"OtherPort":          {[]string{testToken}, "https://example.com:8443/webhooks/inbound?x=1", body, formType, Sign(testToken, "https://example.com:9443/webhooks/inbound?x=1", form), false},
		"Fragment":           {[]string{testToken}, target + "#rc=3", body, formType, signed, true},
		"User":               {[]string{testToken}, "https://user:pass@example.com/webhooks/inbound?x=1", body, formType, signed, true},
		"PortAdded":          {[]string{testToken}, "https://example.com:443/webhooks/inbound?x=1", body, formType, signed, true},
		"PortLeftOut":        {[]string{testToken}, target, body, formType, Sign(testToken, "https://example.com:443/webhooks/inbound?x=1", form), true},
		"IPv6":               {[]string{testToken}, "http://[::1]:8000/in", body, formType, Sign(testToken, "http://[::1]:8000/in", form), true},
		"IPv6WithoutPort":    {[]string{testToken}, "http://[::1]/in", body, formType, Sign(testToken, "http://[::1]:80/in", form), true},
		"RepeatedKey":        {[]string{testToken}, target, repeated.Encode(), formType, Sign(testToken, target, url.Values{"Media": {"a", "b"}}), true},
		"JSON":               {[]string{testToken}, jsonURL, jsonBody, "application/json", Sign(testToken, jsonURL, nil), true},
		"JSONOtherBody":      {[]string{testToken}, jsonURL, `{"a":2}`, "application/json", Sign(testToken, jsonURL, nil), false},
		"JSONWithoutSum":     {[]string{testToken}, target, jsonBody, "application/json", Sign(testToken, target, nil), false},
		"FormAsText":         {[]string{testToken}, target, body, "text/plain", signed, false},
		"NoContentType":      {[]string{testToken}, target, body, "", signed, false},
		"EmptyBody":          {[]string{testToken}, target, "", "", Sign(testToken, target, nil), true},
		"UnreadableForm":     {[]string{testToken}, target, "%zz", formType, Sign(testToken, target, nil), false},
		"UnreadableURL":      {[]string{testToken}, "http://[::1/in", body, formType, signed, false},
		"RelativeURL":        {[]string{testToken}, "/webhooks/inbound?x=1", body, formType, signed, false},
		"SignatureOfNothing": {[]string{testToken}, "", "", "", Sign("x", "", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, Verify(tc.tokens, tc.url, []byte(tc.body), tc.contentType, tc.signature))
		})
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(vectorURL, "a=1&b=2&a=3", formType, vectorSignature)
	f.Add("http://u:p@[::1]:80/?bodySHA256=00#x", "{}", "application/json", "")
	f.Fuzz(func(t *testing.T, target, body, contentType, given string) {
		Verify([]string{testToken}, target, []byte(body), contentType, given)
		form, err := url.ParseQuery(body)
		if u, bad := url.Parse(signedURL(target)); err != nil || bad != nil || u.Query().Has("bodySHA256") {
			return
		}
		signed := Sign(testToken, target, form)
		require.True(t, Verify([]string{testToken}, target, []byte(body), formType, signed))
		require.False(t, Verify([]string{"other"}, target, []byte(body), formType, signed))
	})
}
