package workflows_test

import (
	"compress/gzip"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/event-stream-engine/ese/workflows"
)

// recorded is where the histories of real runs are kept; testdata/record.sh writes them.
const recorded = "testdata/replay"

// quiet keeps the SDK's log out of the tests' output.
var quiet = sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))

// histories returns the recorded histories by name.
func histories(t *testing.T) map[string]*historypb.History {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(recorded, "*.json.gz"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no history is recorded: run testdata/record.sh")
	found := make(map[string]*historypb.History, len(files))
	for _, name := range files {
		found[strings.TrimSuffix(filepath.Base(name), ".json.gz")] = readHistory(t, name)
	}
	return found
}

func readHistory(t *testing.T, name string) *historypb.History {
	t.Helper()
	file, err := os.Open(name)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	unzipped, err := gzip.NewReader(file)
	require.NoError(t, err)
	history, err := client.HistoryFromJSON(unzipped, client.HistoryJSONOptions{})
	require.NoError(t, err)
	return history
}

func typeOf(h *historypb.History) string {
	return h.Events[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()
}

// code is each workflow's name in histories, and what carries it out.
var code = map[string]any{
	"Campaign": workflows.Campaign, "Batch": workflows.Batch, "Recipient": workflows.Recipient, "Import": workflows.Import,
	"Occurrence": workflows.Occurrence,
	"Approval":   workflows.Approval, "TemplateSync": workflows.TemplateSync, "Enrolment": workflows.Enrolment,
	"Erasure": workflows.Erasure, "Retention": workflows.Retention,
}

// TestReplay has today's workflows go through what earlier ones did: whoever changes their order breaks the workflows
// that are under way during a deployment. Add histories for new paths; never replace old ones to make this test pass.
func TestReplay(t *testing.T) {
	t.Parallel()
	replayer := sdkworker.NewWorkflowReplayer()
	for _, w := range code {
		replayer.RegisterWorkflow(w)
	}
	seen := map[string]bool{}
	for name, history := range histories(t) {
		seen[typeOf(history)] = true
		require.NoError(t, replayer.ReplayWorkflowHistory(quiet, history), name)
	}
	for name := range code {
		require.True(t, seen[name], "no history of a %s is recorded", name)
	}
}

// TestReplayNoticesChanges proves that TestReplay can fail.
func TestReplayNoticesChanges(t *testing.T) {
	t.Parallel()
	other := map[string]any{
		"Campaign": workflows.Recipient, "Batch": workflows.Import, "Recipient": workflows.Campaign, "Import": workflows.Batch,
		"Occurrence": workflows.Batch,
		"Approval":   workflows.Import, "TemplateSync": workflows.Batch, "Enrolment": workflows.Batch,
		"Erasure": workflows.Batch, "Retention": workflows.Batch,
	}
	for name, history := range histories(t) {
		replayer := sdkworker.NewWorkflowReplayer()
		kind := typeOf(history)
		replayer.RegisterWorkflowWithOptions(other[kind], workflow.RegisterOptions{Name: kind})
		require.Error(t, replayer.ReplayWorkflowHistory(quiet, history), name)
	}
}

// TestHistoriesHoldNoPersonalData looks for phone numbers, and for what was sent, in everything that Temporal keeps.
func TestHistoriesHoldNoPersonalData(t *testing.T) {
	t.Parallel()
	for name, history := range histories(t) {
		text := prototext.Format(history)
		require.Regexp(t, `campaign_id|import_id|template_id|erasure_id|TemplateSync|Retention`, text, "inputs can be read")
		require.NotRegexp(t, `\+[1-9][0-9]{6,14}`, text, name)
		require.NotContains(t, text, "9477100", name) // begins the numbers of the recorded campaigns
		require.NotContains(t, text, "greeting", name)
	}
}
