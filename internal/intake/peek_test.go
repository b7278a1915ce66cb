package intake_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/intake"
)

func TestPeek(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		format  intake.Format
		content string
		want    []intake.Column
	}{
		"columns by other names": {intake.CSV, "First name;Mobile number;Opt-In\nAnn;0771234567;yes\nBob;;\nCid;1;no\n", []intake.Column{
			{Name: "Mobile number", Values: []string{"0771234567", ""}, Suggest: intake.Target{To: "phone_number"}},
			{Name: "Opt-In", Values: []string{"yes", ""}, Suggest: intake.Target{To: "consent_state"}},
			{Name: "First name", Values: []string{"Ann", "Bob"}, Suggest: intake.Target{To: "first_name"}},
		}},
		"two numbers, a dot, and nothing that is a number": {intake.CSV, "phone,mobile,a.b\n1,2,3\n", []intake.Column{
			{Name: "phone", Values: []string{"1"}, Suggest: intake.Target{To: "phone_number"}},
			{Name: "mobile", Values: []string{"2"}, Suggest: intake.Target{To: "mobile"}},
			{Name: "a.b", Values: []string{"3"}, Suggest: intake.Target{To: "a_b"}},
		}},
		"no number at all": {intake.CSV, "who\nAnn\n", []intake.Column{{Name: "who", Values: []string{"Ann"}, Suggest: intake.Target{To: "who"}}}},
		"keys of records": {intake.JSONL, `{"phone_number":"+1"}` + "\nbroken\n" + `{"phone_number":"+2","attributes":{"a":1}}` + "\n", []intake.Column{
			{Name: "phone_number", Values: []string{"+1"}, Suggest: intake.Target{To: "phone_number"}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			columns, err := intake.Peek(intake.Import{Format: test.format}, strings.NewReader(test.content), 2)
			require.NoError(t, err)
			require.Equal(t, test.want, columns)
		})
	}
	_, err := intake.Peek(intake.Import{Format: intake.CSV}, strings.NewReader(""), 2)
	require.Error(t, err)
}
