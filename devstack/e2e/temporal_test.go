package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"
)

func campaignID(campaign int) string { return fmt.Sprintf("campaign/%d/run/1", campaign) }
func recipientID(campaign, seq int) string {
	return fmt.Sprintf("%s/recipient/%d", campaignID(campaign), seq)
}

// A campaign that was sent, answered and stopped leaves no number, name or text in Temporal or in any log.
func TestNoPersonalDataOutsideTheDatabase(t *testing.T) {
	w := newWorld(t, nil)
	const n = 40
	persons := w.people("+9477", "Secretville", n)
	// One who lacks the variable, one whose number Twilio refuses, one who fails later.
	w.importUsers([]object{{"phone_number": "+94769999999", "city": "Secretville", "consent_state": "OPT_IN"}})
	w.sim("PUT", "/sim/faults", object{"numbers": object{
		persons[0].number: object{"code": 21211, "sync": true},
		persons[1].number: object{"code": 63024},
	}, "requests": []object{{"fault": "error_after", "every": 7}}}, nil)
	c := w.campaign("Secretville", object{"rate_limit_per_second": 20})
	w.trigger(c)
	w.sim("POST", "/sim/inbound", object{"from": persons[2].number, "to": "+14155238886", "body": "STOP"}, nil)
	w.sim("POST", "/sim/inbound", object{"from": persons[3].number, "to": "+14155238886", "body": "wherefore art thou"}, nil)
	w.until("the campaign to complete", func() bool { return w.status(c) == "COMPLETED" })
	status, _ := w.call(http.MethodGet, w.URL()+"/api/v1/users/"+url.PathEscape(persons[4].number), nil)
	require.Equal(t, http.StatusOK, status)
	status, _ = w.call(http.MethodPost, w.URL()+"/api/v1/users", object{"phone_number": persons[4].number + "123456789", "attributes": object{"name": persons[4].name}})
	require.GreaterOrEqual(t, status, 400)

	secrets := []string{"94769999999", "xylophone", "Zebulon", "wherefore"}
	for _, p := range persons {
		secrets = append(secrets, strings.TrimPrefix(p.number, "+"))
	}
	found := func(where string, text []byte) {
		for _, secret := range secrets {
			require.False(t, bytes.Contains(text, []byte(secret)), "%s shows personal data", where)
		}
	}
	seen := 0
	var everything bytes.Buffer
	w.eachHistory(func(id string, raw []byte) {
		seen++
		everything.Write(raw)
		found("the history of "+id, raw)
	})
	require.Greater(t, seen, n, "every recipient has a workflow")
	require.Contains(t, everything.String(), "CheckCompliance", "the scan reads what histories hold")
	for _, role := range w.Roles() {
		out, err := w.Output(role)
		require.NoError(t, err)
		require.NotEmpty(t, out, role)
		found("the log of "+string(role), out)
	}
}

// eachHistory calls f for every execution in Temporal with all that it holds: id, memo, search attributes, summaries and
// every event.
func (w *world) eachHistory(f func(id string, raw []byte)) {
	w.t.Helper()
	c := w.temporal()
	var token []byte
	for {
		page, err := c.ListWorkflow(w.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{NextPageToken: token})
		require.NoError(w.t, err)
		for _, e := range page.GetExecutions() {
			raw, err := proto.Marshal(e)
			require.NoError(w.t, err)
			events := c.GetWorkflowHistory(w.t.Context(), e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
			for events.HasNext() {
				event, err := events.Next()
				require.NoError(w.t, err)
				part, err := proto.Marshal(event)
				require.NoError(w.t, err)
				raw = append(raw, part...)
			}
			f(e.GetExecution().GetWorkflowId(), raw)
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return
		}
	}
}

// In Temporal's Web UI one finds a campaign, its batches and its recipients, and reads what each is and waits for.
func TestReadableInTemporal(t *testing.T) {
	w := newWorld(t, nil)
	w.people("+9477", "Nightville", 3)
	c := w.campaign("Nightville", object{"quiet_hours_start": "00:00", "quiet_hours_end": "23:59", "rate_limit_per_second": 1})
	w.trigger(c)
	temporal := w.temporal()
	w.until("the campaign to say that it is night", func() bool {
		return strings.Contains(currentDetails(t, temporal, campaignID(c)), "quiet_hours")
	})
	require.Contains(t, summaryOf(t, temporal, campaignID(c)), fmt.Sprintf("Campaign %d", c))

	w.people("+9476", "Dayville", 30)
	c = w.campaign("Dayville", object{"rate_limit_per_second": 2})
	w.trigger(c)
	w.until("a recipient to wait for its turn", func() bool {
		for seq := 1; seq <= 30; seq++ {
			if strings.Contains(currentDetails(t, temporal, recipientID(c, seq)), "rate_limit until") {
				return true
			}
		}
		return false
	})
	require.Contains(t, summaryOf(t, temporal, recipientID(c, 1)), "recipient 1")
	require.Contains(t, summaryOf(t, temporal, campaignID(c)+"/batch/1"), "batch 1")

	status, page := w.call(http.MethodGet, w.TemporalUIURL()+"/namespaces/default/workflows/"+url.PathEscape(campaignID(c)), nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, string(page), "<html")
	status, raw := w.call(http.MethodGet, w.TemporalUIURL()+"/api/v1/namespaces/default/workflows?query="+url.QueryEscape(fmt.Sprintf("RootWorkflowId=%q", campaignID(c))), nil)
	require.Equal(t, http.StatusOK, status)
	var list struct {
		Executions []struct {
			Type struct{ Name string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &list))
	kinds := map[string]int{}
	for _, e := range list.Executions {
		kinds[e.Type.Name]++
	}
	require.Positive(t, kinds["Campaign"])
	require.Positive(t, kinds["Batch"])
	require.Positive(t, kinds["Recipient"])
}

// currentDetails is what a workflow says of itself; "" when it does not exist (yet).
func currentDetails(t *testing.T, c client.Client, id string) string {
	t.Helper()
	answer, err := c.QueryWorkflow(t.Context(), id, "", "__temporal_workflow_metadata")
	if err != nil {
		return ""
	}
	var metadata sdkpb.WorkflowMetadata
	require.NoError(t, answer.Get(&metadata))
	return metadata.GetCurrentDetails()
}

func summaryOf(t *testing.T, c client.Client, id string) string {
	t.Helper()
	answer, err := c.DescribeWorkflow(t.Context(), id, "")
	require.NoError(t, err)
	summary, err := answer.GetStaticSummary()
	require.NoError(t, err)
	return summary
}
