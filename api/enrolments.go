package api

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/report"
)

type enrolmentStore interface {
	// Steps counts what became of a run's steps, and its enrolments by state and reason.
	Steps(ctx context.Context, runID int64) ([]report.Step, []report.EnrolmentCount, error)
	// Enrolments lists up to atMost enrolments with ids below before, newest first. "" is every state.
	Enrolments(ctx context.Context, runID int64, state ledger.EnrolmentState, before *int64, atMost int) ([]report.Enrolment, error)
}

func (s *server) ListEnrolments(ctx context.Context, r openapi.ListEnrolmentsRequestObject) (openapi.ListEnrolmentsResponseObject, error) {
	state := ledger.EnrolmentState(value(r.Params.State))
	p, err := newPage(r.Params.Limit, r.Params.Cursor, "enrolments", r.ID, state)
	if err != nil {
		return nil, err
	}
	before, err := p.afterID()
	if err != nil {
		return nil, err
	}
	c, err := s.Store.Campaign(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	out := openapi.ListEnrolments200JSONResponse{Enrolments: []openapi.Enrolment{}, Counts: []openapi.EnrolmentCount{}}
	if c.Run == nil {
		return out, nil
	}
	found, err := s.Store.Enrolments(ctx, c.Run.ID, state, before, p.fetch())
	if err != nil {
		return nil, err
	}
	_, counts, err := s.Store.Steps(ctx, c.Run.ID)
	if err != nil {
		return nil, err
	}
	found, out.NextCursor = cut(p, found, func(e report.Enrolment) int64 { return e.ID })
	out.Enrolments, out.Counts = each(found, showEnrolment), each(counts, showEnrolmentCount)
	for _, n := range counts {
		if state == "" || n.State == state {
			out.Total += int64(n.Count)
		}
	}
	return out, nil
}

func (s *server) GetSteps(ctx context.Context, r openapi.GetStepsRequestObject) (openapi.GetStepsResponseObject, error) {
	c, err := s.Store.Campaign(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	out := openapi.GetSteps200JSONResponse{Steps: []openapi.StepCounts{}, Enrolments: []openapi.EnrolmentCount{}}
	if c.Run == nil {
		return out, nil
	}
	steps, counts, err := s.Store.Steps(ctx, c.Run.ID)
	out.Enrolments = each(counts, showEnrolmentCount)
	out.Steps = each(steps, func(v report.Step) openapi.StepCounts {
		return openapi.StepCounts{
			Number: v.Number, TemplateID: v.TemplateID, TemplateVersion: v.TemplateVersion, TemplateName: v.TemplateName,
			WaitSeconds: int(v.Wait / time.Second), Waiting: int64(v.Waiting), States: stateCounts(v.States),
		}
	})
	return out, err
}

func showEnrolment(e report.Enrolment) openapi.Enrolment {
	out := openapi.Enrolment{
		ID: e.ID, MaskedPhone: masked(e.Phone), State: openapi.EnrolmentState(e.State), Reason: none(e.Reason), CreatedAt: e.CreatedAt, EndedAt: e.EndedAt,
	}
	if e.State == ledger.Enrolled {
		out.NextStep, out.NextAt = &e.NextStep, &e.NextAt
	}
	return out
}

func showEnrolmentCount(n report.EnrolmentCount) openapi.EnrolmentCount {
	return openapi.EnrolmentCount{State: openapi.EnrolmentState(n.State), Reason: none(n.Reason), Count: int64(n.Count)}
}

// readSteps reads the sequence of a plan.
func readSteps(w openapi.CampaignWrite) (steps []campaign.Step, exit campaign.ExitOn) {
	for _, step := range value(w.Steps) {
		steps = append(steps, campaign.Step{TemplateID: step.TemplateID, Wait: time.Duration(step.WaitSeconds) * time.Second})
	}
	if w.ExitOn != nil {
		exit = campaign.ExitOn{Reply: value(w.ExitOn.Reply), Read: value(w.ExitOn.Read), SegmentID: w.ExitOn.SegmentID}
	}
	return steps, exit
}

func showSteps(steps []campaign.Step) []openapi.CampaignStep {
	return each(steps, func(v campaign.Step) openapi.CampaignStep {
		return openapi.CampaignStep{TemplateID: v.TemplateID, WaitSeconds: int(v.Wait / time.Second)}
	})
}

// showExitOn points to a copy, so that writing to it leaves the plan alone.
func showExitOn(e campaign.ExitOn) *openapi.ExitOn {
	return &openapi.ExitOn{Reply: &e.Reply, Read: &e.Read, SegmentID: clone(e.SegmentID)}
}
