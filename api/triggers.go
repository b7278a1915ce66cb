package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

type triggerStore interface {
	// TakeEvents adds a message for each event to each live campaign that it triggers, all at once, and tells of each event
	// what became of it.
	TakeEvents(ctx context.Context, events []ledger.Event, now time.Time) ([]ledger.Taken, error)
	// StartTest sends the campaign's message to a few people, and answers in the order of the numbers.
	StartTest(ctx context.Context, campaignID int64, numbers []phone.Number, variables user.Attributes, by string, now time.Time) (campaign.Run, []ledger.Enlisted, error)
	// CloseRun has a triggered campaign complete once what it took is sent.
	CloseRun(ctx context.Context, campaignID int64, by string, now time.Time) error
}

// maxVariables bounds the values of one event, in bytes.
const maxVariables = 16 << 10

// judgedOneByOne marks a body whose parts the document describes, but which are refused each by itself.
const judgedOneByOne = "x-judged-one-by-one"

func (s *server) IngestTriggers(ctx context.Context, r openapi.IngestTriggersRequestObject) (openapi.IngestTriggersResponseObject, error) {
	region, err := s.region(r.Params.DefaultRegion)
	if err != nil {
		return nil, err
	}
	schemas := s.operations[http.MethodPost+" /api/v1/ingest/triggers"].content.Get(typeJSON).Schema.Value.AnyOf
	one, several := schemas[0].Value, schemas[1].Value
	items := []json.RawMessage{*r.Body}
	alone := true
	if bytes.HasPrefix(bytes.TrimSpace(*r.Body), []byte("[")) {
		alone = false
		if err := json.Unmarshal(*r.Body, &items); err != nil {
			return nil, unreadable(err)
		}
		if n := uint64(len(items)); n < several.MinItems || n > *several.MaxItems {
			return nil, fault.Refuse("", "must be one event or an array of %d to %d", several.MinItems, *several.MaxItems)
		}
	}
	refused := make([]error, len(items))
	var events []ledger.Event
	var places []int // of events[i] among the items
	for i, item := range items {
		e, err := readEvent(item, one, region)
		if err != nil {
			refused[i] = err
			continue
		}
		events, places = append(events, e), append(places, i)
	}
	taken, err := s.Store.TakeEvents(ctx, events, s.Now())
	if err != nil {
		return nil, err
	}
	out := openapi.TriggerResults{Results: make([]openapi.TriggerResult, len(items))}
	for i, t := range taken {
		refused[places[i]] = t.Refused
		out.Results[places[i]] = openapi.TriggerResult{EventID: &events[i].ID, Messages: each(t.Messages, showTriggered), Status: triggerStatus(t)}
	}
	if alone && refused[0] != nil {
		return nil, refused[0]
	}
	for i := range out.Results {
		s.complete(ctx, &out, &out.Results[i], refused[i])
	}
	return openapi.IngestTriggers202JSONResponse(out), nil
}

// complete says why an event was refused, if it was, and counts it.
func (s *server) complete(ctx context.Context, out *openapi.TriggerResults, result *openapi.TriggerResult, refused error) {
	result.Errors = []openapi.FieldError{}
	switch {
	case refused != nil:
		out.Refused++
		result.Status, result.Messages = openapi.TriggerResultStatusRefused, []openapi.TriggeredMessage{}
		_, detail, fields := explain(ctx, refused)
		if len(fields) == 0 {
			fields = []fault.Field{{Detail: detail}}
		}
		result.Errors = each(fields, func(f fault.Field) openapi.FieldError { return openapi.FieldError{Field: f.Name, Detail: f.Detail} })
	case result.Status == openapi.TriggerResultStatusDuplicate:
		out.Duplicates++
	default:
		out.Accepted++
	}
}

func triggerStatus(t ledger.Taken) openapi.TriggerResultStatus {
	for _, m := range t.Messages {
		if !m.Repeated {
			return openapi.TriggerResultStatusAccepted
		}
	}
	return openapi.TriggerResultStatusDuplicate
}

func showTriggered(m ledger.EventMessage) openapi.TriggeredMessage {
	return openapi.TriggeredMessage{
		CampaignID: m.CampaignID, MessageID: none(m.MessageID), State: none(string(m.State)), Reason: none(m.Reason), EnrolmentID: none(m.EnrolmentID),
	}
}

// readEvent reads one event and refuses what the document, or its text alone, shows to be wrong.
func readEvent(raw json.RawMessage, schema *openapi3.Schema, region string) (ledger.Event, error) {
	decoded, err := decodeJSON(raw)
	if err != nil {
		return ledger.Event{}, err
	}
	fields := appendNULFields(schemaFields(schema, decoded, ""), decoded, nil)
	if err := refuseFields(http.StatusUnprocessableEntity, fields); err != nil {
		return ledger.Event{}, err
	}
	var e openapi.TriggerEvent
	if err := json.Unmarshal(raw, &e); err != nil {
		return ledger.Event{}, unreadable(err)
	}
	number, err := phone.Parse(e.PhoneNumber, region)
	if err != nil {
		return ledger.Event{}, err
	}
	variables, err := readVariables(e.Variables)
	if err != nil {
		return ledger.Event{}, err
	}
	return ledger.Event{ID: e.EventID, Name: e.Event, Phone: number, CampaignID: value(e.CampaignID), Variables: variables}, nil
}

func readVariables(raw json.RawMessage) (user.Attributes, error) {
	if len(raw) > maxVariables {
		return nil, fault.Refuse("variables", "are too large: at most %d bytes", maxVariables)
	}
	return user.ParseAttributes("variables", raw)
}

func (s *server) TestCampaign(ctx context.Context, r openapi.TestCampaignRequestObject) (openapi.TestCampaignResponseObject, error) {
	variables, err := readVariables(r.Body.Variables)
	if err != nil {
		return nil, err
	}
	numbers := make([]phone.Number, len(r.Body.PhoneNumbers))
	for i, text := range r.Body.PhoneNumbers {
		field := fmt.Sprintf("phone_numbers[%d]", i)
		if numbers[i], err = phone.Parse(text, s.DefaultRegion); err != nil {
			return nil, fault.Refuse(field, "%s", fieldsOf(err)[0].Detail)
		}
		if slices.Contains(numbers[:i], numbers[i]) {
			return nil, fault.Refuse(field, "is named before")
		}
	}
	run, enlisted, err := s.Store.StartTest(ctx, r.ID, numbers, variables, principalOf(ctx).Name, s.Now())
	return openapi.TestCampaign202JSONResponse{
		RunNumber: run.Number, TaskID: campaign.WorkflowID(r.ID, run.Number), Messages: each(enlisted, func(m ledger.Enlisted) openapi.TriggeredMessage {
			return showTriggered(ledger.EventMessage{CampaignID: r.ID, Enlisted: m})
		}),
	}, err
}

func (s *server) CompleteCampaign(ctx context.Context, r openapi.CompleteCampaignRequestObject) (openapi.CompleteCampaignResponseObject, error) {
	if err := s.Store.CloseRun(ctx, r.ID, principalOf(ctx).Name, s.Now()); err != nil {
		return nil, err
	}
	c, err := s.Store.Campaign(ctx, r.ID)
	return openapi.CompleteCampaign200JSONResponse(s.campaign(c)), err
}
