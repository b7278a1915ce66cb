package render_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	variants := []render.Variant{{Locale: "en_US"}, {Locale: "pt_BR"}, {Locale: "pt"}, {Locale: "si_LK"}, {Locale: "es-MX"}}
	for _, tt := range []struct {
		attributes user.Attributes
		want       string
	}{
		{nil, "en_US"},
		{user.Attributes{"language": "pt_BR"}, "pt_BR"},
		{user.Attributes{"language": "PT-br"}, "pt_BR"},
		{user.Attributes{"language": "pt_PT"}, "pt"},
		{user.Attributes{"language": "si"}, "si_LK"},
		{user.Attributes{"locale": "es_ES"}, "es-MX"},
		{user.Attributes{"language": "si", "locale": "pt"}, "si_LK"},
		{user.Attributes{"language": "", "locale": "pt"}, "pt"},
		{user.Attributes{"language": 7}, "en_US"},
		{user.Attributes{"language": "s"}, "en_US"},
		{user.Attributes{"language": "de"}, "en_US"},
	} {
		require.Equal(t, tt.want, render.Choose(variants, tt.attributes).Locale, "%v", tt.attributes)
	}
	require.Zero(t, render.Choose(nil, user.Attributes{"language": "en"}))
}

func TestNumberedForTheProvider(t *testing.T) {
	t.Parallel()
	template := parse(t, "Hi {name}, {{really}} from {address.city}? Bye {name}")
	mapping := template.Numbering()
	require.Equal(t, map[string]string{"1": "name", "2": "address.city"}, mapping)
	body := template.ProviderBody(mapping)
	require.Equal(t, "Hi {{1}}, {really} from {{2}}? Bye {{1}}", body)
	text, err := render.FromProvider(body, mapping)
	require.NoError(t, err)
	require.Equal(t, "Hi {name}, {{really}} from {address.city}? Bye {name}", text)
	require.True(t, render.SameBody(body, "Hi {{ 1 }}, {really} from {{2}}? Bye {{1 }}"))
	require.False(t, render.SameBody(body, "Hi {{2}}, {really} from {{1}}? Bye {{1}}"))

	_, err = render.FromProvider("Hi {{1}} and {{code}}", map[string]string{"1": "name"})
	require.ErrorContains(t, err, "code")

	for name, wrong := range map[string]map[string]string{
		"one is missing":  {"1": "name"},
		"one is unknown":  {"1": "name", "2": "address.city", "3": "age"},
		"one comes twice": {"1": "name", "2": "address.city", "3": "name"},
		"odd placeholder": {"1": "name", "a b": "address.city"},
	} {
		require.Error(t, template.CheckMapping("content_variables", wrong), name)
	}
	require.NoError(t, template.CheckMapping("content_variables", map[string]string{"who": "name", "2": "address.city"}))
}

func TestBracesThatTheProviderWouldTakeForPlaceholders(t *testing.T) {
	t.Parallel()
	for content, ok := range map[string]bool{
		"Hi {name}":         true,
		"{{a}} {name}":      true,
		"Hi {{{{1}}}}":      false,
		"Hi {{{name}":       false,
		"Hi {name}}}":       false,
		"Hi {name} }} {{ x": true,
	} {
		err := parse(t, content).CheckTemplate()
		require.Equal(t, ok, err == nil, "%s: %v", content, err)
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	template := parse(t, "{a}|{b}|{c}|{d}")
	attributes := user.Attributes{"a": "one\nline", "b": "wide    gap", "c": "a  b", "d": "\t "}
	require.Equal(t, render.Fill{Text: "one\nline|wide    gap|a  b|\t ", Unfit: []string{"a", "b", "d"}}, template.Fill(attributes, false))
	require.Equal(t, render.Fill{Text: "one line|wide gap|a b|", Missing: []string{"d"}}, template.Fill(attributes, true))
	mapping := map[string]string{"1": "a", "2": "b"}
	require.JSONEq(t, `{"1":"one line","2":"wide gap"}`, render.ContentVariables(mapping, attributes, true))
	require.JSONEq(t, `{"1":"one\nline","2":"wide    gap"}`, render.ContentVariables(mapping, attributes, false))
	require.Empty(t, render.ContentVariables(nil, attributes, false))
}

func TestCheckLinks(t *testing.T) {
	t.Parallel()
	for content, ok := range map[string]bool{
		"See https://example.com/a?b={name}.":  true,
		"See https://example.com.":             true,
		"(http://example.com/{city}/x)":        true,
		"https://exämple.com and nothing else": true,
		"See example.com":                      true,
		"https://{host}/x":                     false,
		"https://{name}.example.com":           false,
		"https:/example.com":                   false,
		"https://":                             false,
		"http:// example.com":                  false,
		"https://localhost/x":                  false,
		"https://exa mple":                     false,
		"https://example..com":                 false,
		"https://example.com:port/":            false,
		"HTTPS://%zz.com":                      false,
	} {
		err := parse(t, content).CheckLinks()
		require.Equal(t, ok, err == nil, "%s: %v", content, err)
	}
}

func TestSavedIsCheckedVariantByVariant(t *testing.T) {
	t.Parallel()
	sid := "HX" + strings.Repeat("0", 32)
	saved := func(change func(*render.Saved)) render.Saved {
		t := render.Saved{Name: "Greeting", Content: "Hi {name}. Reply STOP to opt out.", Channel: message.WhatsApp, Locale: "en_US"}
		change(&t)
		return t.Complete()
	}
	whole := saved(func(s *render.Saved) {
		s.Variants = []render.Variant{{Locale: "si", Content: "ආයුබෝවන් {name}"}}
	})
	require.Equal(t, render.Marketing, whole.Category)
	require.Equal(t, []render.Variant{
		{Locale: "en_US", Content: "Hi {name}. Reply STOP to opt out.", Variables: []string{"name"}, Mapping: map[string]string{"1": "name"}, Approval: render.Unsubmitted},
		{Locale: "si", Content: "ආයුබෝවන් {name}", Variables: []string{"name"}, Mapping: map[string]string{"1": "name"}, Approval: render.Unsubmitted},
	}, whole.Variants)
	require.NoError(t, whole.Check())
	require.Equal(t, []render.Warning{{Code: render.NoOptOutLine, Locale: "si", Detail: whole.Warnings()[0].Detail}}, whole.Warnings())
	require.ErrorContains(t, whole.CheckOptOut(), "si")
	require.Equal(t, render.NotNeeded, saved(func(s *render.Saved) { s.Channel = message.SMS }).Variants[0].Approval)

	for name, tt := range map[string]struct {
		change func(*render.Saved)
		field  string
	}{
		"category":       {func(s *render.Saved) { s.Category = "spam" }, "category"},
		"authentication": {func(s *render.Saved) { s.Category = render.Authentication }, "content_sid"},
		"link":           {func(s *render.Saved) { s.Content = "https://{x}/" }, "content"},
		"braces":         {func(s *render.Saved) { s.Content = "{{{{1}}}}" }, "content"},
		"content of an SMS": {func(s *render.Saved) {
			s.Channel, s.Variants = message.SMS, []render.Variant{{Locale: "en_US", Content: s.Content, ContentSID: sid}}
		}, "content_sid"},
		"a language twice": {func(s *render.Saved) {
			s.Variants = []render.Variant{{Locale: "si", Content: "a"}, {Locale: "SI", Content: "b"}}
		}, "variants[1].locale"},
		"a variant that is broken": {func(s *render.Saved) { s.Variants = []render.Variant{{Locale: "si", Content: "{"}} }, "variants[0].content"},
		"a mapping that lacks one": {func(s *render.Saved) {
			s.Variants = []render.Variant{{Locale: "si", Content: "{a}", Mapping: map[string]string{}}}
		}, "variants[0].content_variables"},
	} {
		require.ErrorContains(t, saved(tt.change).Check(), tt.field+": ", name)
	}
	long := saved(func(s *render.Saved) { s.Content = strings.Repeat("x", 1025) + " STOP" })
	require.NoError(t, long.Check(), "free text may be longer")
	require.Equal(t, render.TooLong, long.Warnings()[0].Code)
}

func TestSameAs(t *testing.T) {
	t.Parallel()
	sid, other := "HX"+strings.Repeat("0", 32), "HX"+strings.Repeat("1", 32)
	base := render.Saved{Name: "a", Content: "Hi {name}", Channel: message.WhatsApp, Locale: "en"}.Complete()
	stored := base
	stored.Variants = []render.Variant{base.Variants[0]}
	stored.Variants[0].ContentSID, stored.Variants[0].Approval = sid, render.Approved
	require.True(t, base.SameAs(stored), "its content was made by us")
	named := base
	named.Variants = []render.Variant{base.Variants[0]}
	named.Variants[0].ContentSID = sid
	require.True(t, named.SameAs(stored))
	named.Variants[0].ContentSID = other
	require.False(t, named.SameAs(stored))
	stored.Variants[0].Given = true
	require.False(t, base.SameAs(stored), "from now on by a content of our own")
	for name, change := range map[string]func(*render.Saved){
		"text":     func(s *render.Saved) { s.Content = "Hello {name}" },
		"category": func(s *render.Saved) { s.Category = render.Utility },
		"channel":  func(s *render.Saved) { s.Channel = message.SMS },
		"spaces":   func(s *render.Saved) { s.CollapseWhitespace = true },
		"variants": func(s *render.Saved) { s.Variants = []render.Variant{{Locale: "si", Content: "x"}} },
		"locale":   func(s *render.Saved) { s.Locale = "fr" },
	} {
		changed := render.Saved{Name: "a", Content: "Hi {name}", Channel: message.WhatsApp, Locale: "en"}
		change(&changed)
		require.False(t, changed.Complete().SameAs(base), name)
	}
}

func TestApprovals(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]render.Approval{
		"approved": render.Approved, "APPROVED": render.Approved, "": render.Unsubmitted, "unsubmitted": render.Unsubmitted, "received": render.Received,
		"pending": render.Submitted, "rejected": render.Rejected, "paused": render.Paused, "disabled": render.Disabled, "in appeal": render.Submitted,
	} {
		require.Equal(t, want, render.ParseApproval(word), word)
	}
	for _, tt := range []struct {
		all  []render.Approval
		want render.Approval
	}{
		{nil, render.NotNeeded},
		{[]render.Approval{render.NotNeeded}, render.NotNeeded},
		{[]render.Approval{render.Rejected, render.Submitted}, render.Submitted},
		{[]render.Approval{render.Rejected, render.Submitted, render.Approved}, render.Approved},
		{[]render.Approval{render.Invalid, render.Rejected}, render.Invalid},
	} {
		require.Equal(t, tt.want, render.Best(tt.all), "%v", tt.all)
	}
}

func TestSubmission(t *testing.T) {
	t.Parallel()
	v := render.Saved{Content: "Hi {first_name} in {address.city}", Channel: message.WhatsApp, Locale: "pt-BR"}.Complete().Variants[0]
	s, err := v.Submission(7, 3, render.Utility)
	require.NoError(t, err)
	require.Equal(t, render.Submission{
		Name: "ese_7_v3_pt_br", Locale: "pt_BR", Category: render.Utility, Body: "Hi {{1}} in {{2}}", Samples: map[string]string{"1": "first name", "2": "address city"},
	}, s)
	require.Empty(t, v.Fits(render.Content{Locale: "pt_BR", Body: "Hi {{1}} in {{ 2 }}"}))
	require.Contains(t, v.Fits(render.Content{Locale: "pt_PT", Body: "Hi {{1}} in {{2}}"}), "language")
	require.Contains(t, v.Fits(render.Content{Locale: "pt_BR", Body: "Hello {{1}} in {{2}}"}), "another text")
	require.Equal(t, "the template is rejected (pt-BR): INVALID_FORMAT", render.Variant{Locale: "pt-BR", Approval: render.Rejected, Reason: "INVALID_FORMAT"}.Refusal())
}

func TestTellsHowToStop(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]bool{
		"Reply STOP to opt out.":         true,
		"Answer Stop.":                   true,
		"Text unsubscribe":               true,
		"Responde BAJA para no recibir":  true,
		"Répondez ARRÊT":                 true,
		"Non-stop music":                 true, // better a missed warning than one for nothing
		"Visit our bus stops":            false,
		"Hi {stop}":                      false,
		"Special offer for {city} today": false,
	} {
		require.Equal(t, want, parse(t, content).TellsHowToStop(), content)
	}
}

func parse(t *testing.T, content string) render.Template {
	t.Helper()
	template, err := render.Parse(content)
	require.NoError(t, err)
	return template
}

func TestPreview(t *testing.T) {
	t.Parallel()
	template, err := render.Parse("Hi {name}, {address.city} {{here}}")
	require.NoError(t, err)
	fill := template.Preview(user.Attributes{"name": " Ann  B "}, true)
	require.Equal(t, render.Fill{Text: "Hi Ann B, {address.city} {here}", Missing: []string{"address.city"}}, fill)
}
