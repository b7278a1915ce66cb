package openapi_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/api/internal/openapi"
)

const source = "../../openapi.yaml"

type operation struct {
	*openapi3.Operation
	path, method string
	params       openapi3.Parameters // the path's own included
}

func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(source)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaDefaultsValidation()))
	return doc
}

func operations(doc *openapi3.T) []operation {
	var all []operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			all = append(all, operation{op, path, method, slices.Concat(item.Parameters, op.Parameters)})
		}
	}
	return all
}

func (o operation) parameter(in, name string) *openapi3.Parameter {
	return o.params.GetByInAndName(in, name)
}

func TestEveryOperationNamesItsScope(t *testing.T) {
	t.Parallel()
	for _, op := range operations(load(t)) {
		scope, found := op.Extensions["x-scope"]
		if slices.Contains(op.Tags, "Health") {
			require.False(t, found, op.OperationID)
			require.NotNil(t, op.Security, op.OperationID)
			require.Empty(t, *op.Security, op.OperationID)
			continue
		}
		require.Contains(t, []any{"read", "write", "send", "admin"}, scope, op.OperationID)
		require.Nil(t, op.Security, "%s: the document's own security holds", op.OperationID)
		if slices.Contains(op.Tags, "Access") {
			require.Equal(t, "admin", scope, op.OperationID)
		} else if op.method == http.MethodGet {
			require.Equal(t, "read", scope, op.OperationID)
		}
	}
}

func TestEveryOperationAnswersProblems(t *testing.T) {
	t.Parallel()
	for _, op := range operations(load(t)) {
		statuses := slices.Collect(maps.Keys(op.Responses.Map()))
		require.Contains(t, statuses, "default", op.OperationID)
		for status, response := range op.Responses.Map() {
			if status == "default" || (status >= "400" && !strings.HasSuffix(op.path, "/ready")) {
				require.NotNil(t, response.Value.Content["application/problem+json"], "%s %s", op.OperationID, status)
			}
		}
	}
}

func TestEveryPostTakesAnIdempotencyKey(t *testing.T) {
	t.Parallel()
	for _, op := range operations(load(t)) {
		key := op.parameter("header", "Idempotency-Key")
		secret := slices.Contains(op.Tags, "Access") // its answer must not be kept
		require.Equal(t, op.method == http.MethodPost && !secret, key != nil, op.OperationID)
	}
}

func TestEveryListIsPaginated(t *testing.T) {
	t.Parallel()
	lists := 0
	for _, op := range operations(load(t)) {
		ok := op.Responses.Status(http.StatusOK)
		paginated := false
		if ok != nil && ok.Value.Content.Get("application/json") != nil { // a download is no page of a list
			paginated = ok.Value.Content.Get("application/json").Schema.Value.Properties["next_cursor"] != nil
		}
		require.Equal(t, strings.HasPrefix(op.OperationID, "list"), paginated, op.OperationID)
		require.Equal(t, paginated, op.parameter("query", "limit") != nil, op.OperationID)
		require.Equal(t, paginated, op.parameter("query", "cursor") != nil, op.OperationID)
		if paginated {
			lists++
			total := "total"
			if op.OperationID == "listInbound" {
				total = "total_count" // docs/decisions/field-names.md
			}
			require.Subset(t, ok.Value.Content.Get("application/json").Schema.Value.Required, []string{"next_cursor", total}, op.OperationID)
		}
	}
	require.Positive(t, lists)
}

// Free-form JSON is marked by the Go type that keeps it as it came; every other input is closed and bounded.
func TestEveryInputIsClosedAndBounded(t *testing.T) {
	t.Parallel()
	var check func(where string, ref *openapi3.SchemaRef)
	check = func(where string, ref *openapi3.SchemaRef) {
		s := ref.Value
		if s.Extensions["x-go-type"] == "json.RawMessage" {
			return
		}
		switch {
		case s.Type.Is("object") && s.AdditionalProperties.Schema != nil: // a map is closed by its bounds
			require.NotNil(t, s.MaxProps, where)
			check(where+".*", s.AdditionalProperties.Schema)
		case s.Type.Is("object"):
			require.NotNil(t, s.AdditionalProperties.Has, where)
			require.False(t, *s.AdditionalProperties.Has, where)
			for name, property := range s.Properties {
				check(where+"."+name, property)
			}
		case s.Type.Is("array"):
			require.NotNil(t, s.MaxItems, where)
			check(where+"[]", s.Items)
		case s.Type.Is("integer"):
			require.NotNil(t, s.Min, where)
			require.NotNil(t, s.Max, where)
		case s.Type.Is("string"):
			require.True(t, s.MaxLength != nil || len(s.Enum) > 0 || s.Format == "date-time" || s.Format == "binary", where)
		default:
			require.True(t, s.Type.Is("boolean"), where)
		}
	}
	for _, op := range operations(load(t)) {
		for _, p := range op.params {
			check(op.OperationID+" "+p.Value.Name, p.Value.Schema)
		}
		if op.RequestBody != nil {
			for contentType, media := range op.RequestBody.Value.Content {
				check(op.OperationID+" "+contentType, media.Schema)
			}
		}
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	schemas := load(t).Components.Schemas
	for name, tc := range map[string]struct {
		schema, body string
		fits         bool
	}{
		"campaign with quiet hours off": {"CampaignWrite", `{"topic":"t","template_id":1,"segment_id":2,"quiet_hours_start":null,"quiet_hours_end":null}`, true},
		"campaign with a query":         {"CampaignWrite", `{"topic":"t","template_id":1,"segment_query":{"phone_verified":true}}`, true},
		"campaign with a short hour":    {"CampaignWrite", `{"topic":"t","template_id":1,"segment_id":2,"quiet_hours_start":"8:00","quiet_hours_end":"22:00"}`, true},
		"campaign with hour 24":         {"CampaignWrite", `{"topic":"t","template_id":1,"segment_id":2,"quiet_hours_start":"24:00","quiet_hours_end":"8:00"}`, false},
		"campaign with a status":        {"CampaignWrite", `{"topic":"t","template_id":1,"segment_id":2,"status":"RUNNING"}`, false},
		"campaign with a misspelt key":  {"CampaignWrite", `{"topic":"t","template_id":1,"target_segment_id":2}`, false},
		"campaign without a limit":      {"CampaignWrite", `{"topic":"t","template_id":1,"segment_id":2,"rate_limit_per_second":0}`, false},
		"empty trigger":                 {"CampaignTrigger", `{}`, true},
		"trigger with a segment":        {"CampaignTrigger", `{"segment_id":2}`, false},
		"preview for nobody":            {"TemplatePreviewRequest", `{}`, false},
		"preview for two":               {"TemplatePreviewRequest", `{"phone_number":"+94771234567","attributes":{}}`, false},
		"user of unknown consent":       {"UserCreate", `{"phone_number":"+94771234567","consent_state":"opted_in"}`, false},
		"record that is no object":      {"ImportRecord", `7`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var body any
			require.NoError(t, json.Unmarshal([]byte(tc.body), &body))
			err := schemas[tc.schema].Value.VisitJSON(body)
			require.Equal(t, tc.fits, err == nil, "%v", err)
		})
	}
}

func TestGeneratedCodeIsOfThisDocument(t *testing.T) {
	t.Parallel()
	want, err := load(t).MarshalJSON()
	require.NoError(t, err)
	generated, err := openapi.GetSpec()
	require.NoError(t, err)
	got, err := generated.MarshalJSON()
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(got), "run go generate ./api/internal/openapi")
}

// stub answers the operations that the router's tests use; every other one panics.
type stub struct {
	openapi.StrictServerInterface
	phone   string
	trigger *openapi.CampaignTrigger
	records []openapi.ImportRecord
}

func (s *stub) DeleteUser(_ context.Context, r openapi.DeleteUserRequestObject) (openapi.DeleteUserResponseObject, error) {
	s.phone = r.PhoneNumber
	return openapi.DeleteUser204Response{}, nil
}

func (s *stub) TriggerCampaign(_ context.Context, r openapi.TriggerCampaignRequestObject) (openapi.TriggerCampaignResponseObject, error) {
	s.trigger = r.Body
	return openapi.TriggerCampaign200JSONResponse{CampaignID: r.ID}, nil
}

func (s *stub) ImportUsers(_ context.Context, r openapi.ImportUsersRequestObject) (openapi.ImportUsersResponseObject, error) {
	s.records = *r.JSONBody
	return openapi.ImportUsers202JSONResponse{}, nil
}

func TestRouting(t *testing.T) {
	gin.SetMode(gin.TestMode)
	router, server := gin.New(), &stub{}
	openapi.RegisterHandlers(router, openapi.NewStrictHandler(server, nil))
	do := func(method, target, body string) int {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		return w.Code
	}

	for _, path := range []string{"/api/v1/users/%2B94771234567", "/api/v1/users/+94771234567"} {
		server.phone = ""
		require.Equal(t, http.StatusNoContent, do(http.MethodDelete, path, ""), path)
		require.Equal(t, "+94771234567", server.phone, path)
	}

	require.Equal(t, http.StatusOK, do(http.MethodPost, "/api/v1/campaigns/7/trigger", ""))
	require.Nil(t, server.trigger, "an empty body is no body")
	require.Equal(t, http.StatusOK, do(http.MethodPost, "/api/v1/campaigns/7/trigger", `{"dry_run":true}`))
	require.True(t, *server.trigger.DryRun)

	require.Equal(t, http.StatusAccepted, do(http.MethodPost, "/api/v1/users/bulk", `[{"b":1.0,"a":2},7]`))
	require.Equal(t, []openapi.ImportRecord{json.RawMessage(`{"b":1.0,"a":2}`), json.RawMessage(`7`)}, server.records)
}
