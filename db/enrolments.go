package db

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
)

// minEnrolSpacing is the least time in seconds between the starts of two enrolments. They start ten times faster than the
// campaign sends, as their messages are spaced again, but not at once: other campaigns' starts would queue behind an import's.
const minEnrolSpacing = 0.01

// enrol puts those who trigger a campaign with steps on their way, and has their workflows started, one after the other.
// It locks as Enlist does, and answers likewise.
func (s *Store) enrol(ctx context.Context, runID int64, list []ledger.Enlistment, now time.Time) ([]ledger.Enlisted, error) {
	p := dbsqlc.EnrolmentsInsertParams{RunID: runID, StartAt: now, Now: now}
	for _, e := range list {
		variables, err := variablesOf(e)
		if err != nil {
			return nil, err
		}
		p.UserIds, p.DedupeKeys, p.Variables = append(p.UserIds, e.UserID), append(p.DedupeKeys, e.DedupeKey), append(p.Variables, variables)
	}
	enrolled := make([]ledger.Enlisted, len(list))
	err := s.InTx(ctx, func(ctx context.Context) error {
		if err := s.LockPeople(ctx, p.UserIds); err != nil {
			return err
		}
		r, open, err := s.lockOpenRun(ctx, runID)
		if err != nil {
			return err
		}
		if !open {
			return fault.New(fault.Conflict, "run %d of campaign %d takes nobody", r.Number, r.CampaignID)
		}
		p.CampaignID, p.RunNumber, p.SpacingSeconds = r.CampaignID, r.Number, max(0.1/float64(r.RateLimitPerSecond), minEnrolSpacing)
		if r.NextStartAt != nil && r.NextStartAt.After(now) {
			p.StartAt = *r.NextStartAt
		}
		rows, err := s.q(ctx).EnrolmentsInsert(ctx, p)
		if err != nil {
			return translate(err, "enrolments")
		}
		for _, row := range rows {
			enrolled[row.Place-1] = ledger.Enlisted{EnrolmentID: row.ID, Repeated: row.Repeated}
		}
		return nil
	})
	return enrolled, err
}

// TakeStep looks at somebody's enrolment and does what is due: it adds the message of the next step, ends the enrolment, or
// says when to look again. Asked twice, or again because the answer was lost, it adds a step once.
func (s *Store) TakeStep(ctx context.Context, enrolmentID int64, now time.Time) (move ledger.Move, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		owner, err := s.q(ctx).EnrolmentOwner(ctx, enrolmentID)
		if err != nil {
			return translate(err, "enrolment")
		}
		if _, err := s.q(ctx).CampaignGate(ctx, owner.CampaignID); err != nil {
			return translate(err, "gate of the campaign")
		}
		if owner.UserID != nil {
			if err := s.LockPeople(ctx, []int64{*owner.UserID}); err != nil {
				return err
			}
		}
		row, err := s.q(ctx).EnrolmentLock(ctx, enrolmentID)
		if err != nil {
			return translate(err, "enrolment")
		}
		move, err = s.takeStep(ctx, row, now)
		return err
	})
	return move, err
}

func (s *Store) takeStep(ctx context.Context, row dbsqlc.EnrolmentLockRow, now time.Time) (ledger.Move, error) {
	e := ledger.Enrolment{
		State: ledger.EnrolmentState(row.State), Live: campaign.Status(row.Status).Active(), Paused: campaign.Status(row.Status) == campaign.Paused,
		Step: int(row.NextStep), Steps: int(row.Steps), Wait: time.Duration(row.WaitSeconds) * time.Second, NextAt: row.NextAt,
	}
	var err error
	if e.State == ledger.Enrolled && e.Live {
		if e.Exit, err = s.exitOf(ctx, row, now); err != nil {
			return ledger.Move{}, err
		}
		if e.Exit == "" && e.Step > 1 {
			if e.Last, err = s.stepMessage(ctx, row, row.NextStep-1); err != nil {
				return ledger.Move{}, err
			}
		}
	}
	move := e.Next(now)
	switch {
	case e.State != ledger.Enrolled:
		return move, nil
	case move.State != ledger.Enrolled:
		return move, s.endEnrolment(ctx, row, move, row.NextStep, now)
	case !move.Take:
		return move, translate(s.q(ctx).EnrolmentWait(ctx, dbsqlc.EnrolmentWaitParams{ID: row.ID, NextStep: row.NextStep, NextAt: move.Until}), "enrolment")
	}
	step := ledger.Enlistment{UserID: *row.UserID, DedupeKey: stepKey(row.ID, row.NextStep), Step: e.Step}
	if row.Variables != nil {
		if err := json.Unmarshal(row.Variables, &step.Variables); err != nil {
			return ledger.Move{}, fmt.Errorf("variables of enrolment %d: %w", row.ID, err)
		}
	}
	if _, err := s.Enlist(ctx, row.RunID, []ledger.Enlistment{step}, now); err != nil {
		return ledger.Move{}, err
	}
	if e.Step == e.Steps {
		move = ledger.Move{State: ledger.Completed}
		return move, s.endEnrolment(ctx, row, move, row.NextStep+1, now)
	}
	move = ledger.Move{State: ledger.Enrolled, Until: now.Add(time.Duration(row.FollowingSeconds) * time.Second), Reason: "the next step"}
	return move, translate(s.q(ctx).EnrolmentWait(ctx, dbsqlc.EnrolmentWaitParams{ID: row.ID, NextStep: row.NextStep + 1, NextAt: move.Until}), "enrolment")
}

// stepKey is what the message of a step has for its key.
func stepKey(enrolmentID int64, step int16) string {
	return fmt.Sprintf("enrolment/%d/%d", enrolmentID, step)
}

// stepMessage tells how the message of a step stands; nil when there is none.
func (s *Store) stepMessage(ctx context.Context, row dbsqlc.EnrolmentLockRow, step int16) (*ledger.StepMessage, error) {
	m, err := s.q(ctx).EnrolmentMessage(ctx, dbsqlc.EnrolmentMessageParams{RunID: row.RunID, UserID: *row.UserID, DedupeKey: stepKey(row.ID, step)})
	if isNoRows(err) {
		return nil, nil //nolint:nilnil // there is none, and nothing is wrong
	} else if err != nil {
		return nil, translate(err, "message of a step")
	}
	last := &ledger.StepMessage{State: message.State(m.State), At: m.UpdatedAt, WaitsUntil: m.WaitsUntil}
	switch {
	case m.AcceptedAt != nil:
		last.At = *m.AcceptedAt
	case m.EndedAt != nil:
		last.At = *m.EndedAt
	}
	return last, nil
}

// exitOf says why somebody leaves the steps now; "" when they do not. A reply, a STOP and an erasure have ended the enrolment
// before.
func (s *Store) exitOf(ctx context.Context, row dbsqlc.EnrolmentLockRow, now time.Time) (string, error) {
	switch consent := user.ConsentState(row.ConsentState); {
	case row.UserID == nil:
		return message.ReasonErased, nil
	case !consent.Sendable():
		return withdrawalReason(consent), nil
	case row.Suppressed:
		return string(compliance.Suppressed), nil
	}
	if row.ExitOnRead && row.NextStep > 1 {
		keys := make([]string, row.NextStep-1)
		for i := range keys {
			keys[i] = stepKey(row.ID, int16(i+1))
		}
		read, err := s.q(ctx).EnrolmentWasRead(ctx, dbsqlc.EnrolmentWasReadParams{RunID: row.RunID, UserID: *row.UserID, DedupeKeys: keys})
		if err != nil || read {
			return ledger.ExitRead, translate(err, "messages of the steps")
		}
	}
	if row.ExitSegmentID == nil {
		return "", nil
	}
	saved, err := s.Segment(ctx, int64(*row.ExitSegmentID))
	if err != nil {
		return "", err
	}
	where, args, err := s.selection(ctx, saved.Definition, now, 1)
	if err != nil {
		return "", err
	}
	var in bool
	err = s.conn(ctx).QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM users u WHERE u.id = $1 AND (`+where+`))`, append([]any{*row.UserID}, args...)...).Scan(&in)
	if err != nil || !in {
		return "", translate(err, "segment")
	}
	return ledger.ExitSegment, nil
}

// endEnrolment ends a locked enrolment, and has a run that is closed look whether it was the last.
func (s *Store) endEnrolment(ctx context.Context, row dbsqlc.EnrolmentLockRow, move ledger.Move, next int16, now time.Time) error {
	if err := s.q(ctx).EnrolmentEnd(ctx, dbsqlc.EnrolmentEndParams{
		ID: row.ID, State: string(move.State), Reason: move.Reason, NextStep: next, Now: &now,
	}); err != nil {
		return translate(err, "enrolment")
	}
	if row.ClosedAt == nil {
		return nil
	}
	return s.enqueue(ctx, outbox.WakeCampaign, outbox.Run{RunID: row.RunID, CampaignID: int64(row.CampaignID), Number: int(row.Number)}, now)
}

// exitEnrolments ends the enrolments of people whose rows the transaction holds, with byReply those alone that a reply ends,
// and tells their workflows. It returns which.
func (s *Store) exitEnrolments(ctx context.Context, userIDs []int64, byReply bool, reason string, now time.Time) (ended []int64, err error) {
	rows, err := s.q(ctx).EnrolmentsExit(ctx, dbsqlc.EnrolmentsExitParams{UserIds: userIDs, ByReply: byReply, Reason: reason, Now: now})
	if err != nil {
		return nil, translate(err, "enrolments")
	}
	for _, row := range rows {
		ended = append(ended, row.ID)
		run := outbox.Run{RunID: row.RunID, CampaignID: int64(row.CampaignID), Number: int(row.Number)}
		if err := s.enqueue(ctx, outbox.WakeEnrolment, outbox.Enrolment{Run: run, EnrolmentID: row.ID}, now); err != nil {
			return nil, err
		}
		if row.Closed {
			if err := s.enqueue(ctx, outbox.WakeCampaign, run, now); err != nil {
				return nil, err
			}
		}
	}
	return ended, nil
}

// exitByReply ends the enrolments of somebody who has just written, in campaigns that a reply ends, and the steps that wait.
func (s *Store) exitByReply(ctx context.Context, userID int64, now time.Time) error {
	ended, err := s.exitEnrolments(ctx, []int64{userID}, true, ledger.ExitReply, now)
	if err != nil || len(ended) == 0 {
		return err
	}
	rows, err := s.q(ctx).EnrolmentMessagesWithdraw(ctx, dbsqlc.EnrolmentMessagesWithdrawParams{
		EnrolmentIds: ended, UserIds: []int64{userID}, Reason: message.ReasonReplied, Now: &now,
	})
	if err != nil {
		return translate(err, "waiting steps")
	}
	for _, row := range rows {
		if err := s.signalRecipient(ctx, row.RunID, row.CampaignID, row.Number, row.Seq, now); err != nil {
			return err
		}
	}
	return nil
}

// cancelEnrolments ends all enrolments of a run and tells their workflows, at the campaign's rate.
func (s *Store) cancelEnrolments(ctx context.Context, runID int64, ratePerSecond int, now time.Time) error {
	return translate(s.q(ctx).EnrolmentsCancel(ctx, dbsqlc.EnrolmentsCancelParams{
		RunID: runID, SpacingSeconds: 1 / float64(ratePerSecond), Now: now,
	}), "enrolments")
}

// OverdueEnrolments lists up to atMost enrolments that were to be looked at before the given moment and were not.
func (s *Store) OverdueEnrolments(ctx context.Context, dueBefore time.Time, atMost int) ([]outbox.Enrolment, error) {
	rows, err := s.q(ctx).EnrolmentsOverdue(ctx, dbsqlc.EnrolmentsOverdueParams{DueBefore: dueBefore, AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "enrolments")
	}
	overdue := make([]outbox.Enrolment, len(rows))
	for i, r := range rows {
		overdue[i] = outbox.Enrolment{Run: outbox.Run{RunID: r.RunID, CampaignID: int64(r.CampaignID), Number: int(r.Number)}, EnrolmentID: r.ID}
	}
	return overdue, nil
}

// Steps tells what became of the steps of a run, in their order, and how many enrolments are in which state.
func (s *Store) Steps(ctx context.Context, runID int64) ([]report.Step, []report.EnrolmentCount, error) {
	rows, err := s.q(ctx).RunSteps(ctx, runID)
	if err != nil {
		return nil, nil, translate(err, "steps of the run")
	}
	steps := make([]report.Step, len(rows))
	for i, r := range rows {
		steps[i] = report.Step{
			Number: int(r.Number), TemplateID: int64(r.TemplateID), TemplateVersion: int(r.TemplateVersion), TemplateName: r.Name,
			Wait: time.Duration(r.WaitSeconds) * time.Second, Waiting: int(r.Waiting), States: report.States{},
		}
	}
	counts, err := s.q(ctx).RunStepStates(ctx, runID)
	if err != nil {
		return nil, nil, translate(err, "states of the steps")
	}
	for _, c := range counts {
		steps[c.Step-1].States[message.State(c.State)] = int(c.Messages)
	}
	states, err := s.q(ctx).EnrolmentStates(ctx, runID)
	if err != nil {
		return nil, nil, translate(err, "states of the enrolments")
	}
	enrolled := make([]report.EnrolmentCount, len(states))
	for i, r := range states {
		enrolled[i] = report.EnrolmentCount{State: ledger.EnrolmentState(r.State), Reason: r.Reason, Count: int(r.Enrolments)}
	}
	return steps, enrolled, nil
}

// Enrolments lists up to atMost enrolments of a run in that state ("" for any), newest first, with ids below before (nil for
// no bound).
func (s *Store) Enrolments(ctx context.Context, runID int64, state ledger.EnrolmentState, before *int64, atMost int) ([]report.Enrolment, error) {
	var rows []dbsqlc.EnrolmentListRow
	var err error
	if state != "" {
		rows, err = s.q(ctx).EnrolmentList(ctx, dbsqlc.EnrolmentListParams{RunID: runID, State: string(state), Before: before, AtMost: int32(atMost)})
	} else {
		var all []dbsqlc.EnrolmentListAllRow
		all, err = s.q(ctx).EnrolmentListAll(ctx, dbsqlc.EnrolmentListAllParams{RunID: runID, Before: before, AtMost: int32(atMost)})
		for _, row := range all {
			rows = append(rows, dbsqlc.EnrolmentListRow(row))
		}
	}
	if err != nil {
		return nil, translate(err, "enrolments")
	}
	found := make([]report.Enrolment, len(rows))
	for i, r := range rows {
		found[i] = report.Enrolment{
			ID: r.ID, Phone: phone.Number(deref(r.PhoneNumber)), State: ledger.EnrolmentState(r.State), Reason: r.Reason,
			NextStep: int(r.NextStep), NextAt: r.NextAt, CreatedAt: r.CreatedAt, EndedAt: r.EndedAt,
		}
	}
	return found, nil
}

// stepsOf reads the steps of campaigns.
func (s *Store) stepsOf(ctx context.Context, campaignIDs []int32) (map[int64][]campaign.Step, error) {
	rows, err := s.q(ctx).CampaignSteps(ctx, campaignIDs)
	if err != nil {
		return nil, translate(err, "steps")
	}
	steps := map[int64][]campaign.Step{}
	for _, r := range rows {
		id := int64(r.CampaignID)
		steps[id] = append(steps[id], campaign.Step{TemplateID: int64(r.TemplateID), Wait: time.Duration(r.WaitSeconds) * time.Second})
	}
	return steps, nil
}

func (s *Store) setSteps(ctx context.Context, campaignID int32, steps []campaign.Step) error {
	p := dbsqlc.CampaignStepsReplaceParams{CampaignID: campaignID, TemplateIds: []int32{}, WaitSeconds: []int32{}}
	for _, step := range steps {
		p.TemplateIds, p.WaitSeconds = append(p.TemplateIds, int32(step.TemplateID)), append(p.WaitSeconds, int32(step.Wait/time.Second))
	}
	return translate(s.q(ctx).CampaignStepsReplace(ctx, p), "steps")
}

// checkSteps adds to missing what is wrong with what the steps name.
func (s *Store) checkSteps(ctx context.Context, c campaign.Campaign, missing []fault.Field) ([]fault.Field, error) {
	if !c.Drip() {
		return missing, nil
	}
	ids := make([]int32, len(c.Steps))
	for i, step := range c.Steps {
		ids[i] = int32(step.TemplateID)
	}
	rows, err := s.q(ctx).StepTemplates(ctx, dbsqlc.StepTemplatesParams{TemplateID: int32(c.TemplateID), TemplateIds: ids})
	if err != nil {
		return nil, translate(err, "templates")
	}
	for i, id := range ids {
		field := fmt.Sprintf("steps[%d].template_id", i)
		switch at := slices.IndexFunc(rows, func(r dbsqlc.StepTemplatesRow) bool { return r.ID == id }); {
		case at < 0:
			missing = append(missing, fault.Field{Name: field, Detail: fmt.Sprintf("there is no template %d", id)})
		case !rows[at].OfChannel:
			missing = append(missing, fault.Field{Name: field, Detail: "is for another channel than the first step: all steps leave from one sender"})
		}
	}
	if c.ExitOn.SegmentID == nil {
		return missing, nil
	}
	known, err := s.q(ctx).SegmentsKnown(ctx, []int32{int32(*c.ExitOn.SegmentID)})
	if err == nil && len(known) == 0 {
		missing = append(missing, fault.Field{Name: "exit_on.segment_id", Detail: fmt.Sprintf("there is no segment %d", *c.ExitOn.SegmentID)})
	}
	return missing, translate(err, "segments")
}
