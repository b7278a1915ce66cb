package db

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/throttle"
)

// EnsureSender makes one of our own addresses known; the newest of a channel is the one that new runs send from. One that
// is known keeps its limit.
func (s *Store) EnsureSender(ctx context.Context, channel message.Channel, e164 string, now time.Time) error {
	err := s.q(ctx).SenderEnsure(ctx, dbsqlc.SenderEnsureParams{
		Channel: string(channel), Address: e164, MessagesPerSecond: int32(throttle.DefaultRate(channel)), Now: now,
	})
	return translate(err, "sender")
}

// StartRun triggers a campaign: it pins the template's version, opens a run and leaves its start to the outbox, all at
// once. The campaign becomes SCHEDULED when its time is still to come, else RUNNING. One that recurs becomes SCHEDULED as
// well: its runs are opened by its occurrences, and the run that is returned has no number. The run of a triggered campaign
// has nobody to send to yet: it is open to what comes (Enlist). A campaign that cannot start from where it is gives a
// Conflict, and so does one that has to be approved first.
func (s *Store) StartRun(ctx context.Context, campaignID int64, by string, now time.Time) (run campaign.Run, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		c, err := s.q(ctx).CampaignLock(ctx, int32(campaignID))
		if err != nil {
			return translate(err, fmt.Sprintf("campaign %d", campaignID))
		}
		status, notBefore := campaign.Running, campaign.Campaign{ScheduleTime: c.ScheduleTime, LocalTime: toLocalTime(c.ScheduleLocalTime)}.NotBefore()
		if notBefore != nil && notBefore.After(now) || c.RecurrenceCron != "" {
			status = campaign.Scheduled
		}
		if err := campaign.Status(c.Status).Move(status); err != nil {
			return err
		}
		if s.ApprovalsRequired {
			given := campaign.Approval{TemplateVersion: value(c.ApprovedTemplateVersion)}
			if c.ApprovedAt != nil {
				given.At = *c.ApprovedAt
			}
			changed, err := s.q(ctx).CampaignPartsChanged(ctx, c.ID)
			if err != nil {
				return translate(err, "parts of the campaign")
			}
			if err := given.Check(int(c.TemplateVersion), changed); err != nil {
				return err
			}
		}
		if c.RecurrenceCron != "" {
			return s.recur(ctx, c, by, now)
		}
		kind := campaign.Trigger(c.Trigger).RunKind()
		if run, err = s.openRun(ctx, c, campaign.Run{Kind: kind, NotBefore: notBefore, StartedBy: by, StartedAt: now}, status); err != nil {
			return err
		}
		detail := map[string]any{"run": run.Number, "status": status, "was": map[string]any{"status": c.Status}}
		return s.audit(ctx, by, "campaign.trigger", fmt.Sprintf("campaign/%d", campaignID), detail, now)
	})
	return run, err
}

// openRun makes a run of the locked campaign, gives the campaign that status and leaves the run's start to the outbox.
func (s *Store) openRun(ctx context.Context, c dbsqlc.CampaignLockRow, run campaign.Run, status campaign.Status) (campaign.Run, error) {
	row, err := s.q(ctx).RunInsert(ctx, dbsqlc.RunInsertParams{
		CampaignID: c.ID, Kind: string(run.Kind), TemplateID: c.TemplateID, TemplateVersion: c.TemplateVersion, Channel: c.Channel,
		StartedBy: run.StartedBy, Now: run.StartedAt, NotBefore: run.NotBefore, OccurrenceAt: run.OccurrenceAt,
	})
	if isNoRows(err) {
		return campaign.Run{}, fault.New(fault.Conflict, "no sender is configured for channel %s", c.Channel)
	} else if err != nil {
		return campaign.Run{}, translate(err, "run")
	}
	run.ID, run.CampaignID, run.Number = row.ID, int64(c.ID), int(row.Number)
	run.TemplateID, run.TemplateVersion = int64(c.TemplateID), int(c.TemplateVersion)
	if err := s.setStatus(ctx, run.CampaignID, status, "", run.StartedAt); err != nil {
		return campaign.Run{}, err
	}
	if run.Kind == campaign.ByEvent {
		run.FrozenAt = &run.StartedAt
		if err := s.q(ctx).EventRunOpen(ctx, dbsqlc.EventRunOpenParams{ID: run.ID, Now: run.FrozenAt}); err != nil {
			return campaign.Run{}, translate(err, "event run")
		}
		if err := s.q(ctx).RunStepsPin(ctx, dbsqlc.RunStepsPinParams{RunID: run.ID, CampaignID: c.ID}); err != nil {
			return campaign.Run{}, translate(err, "steps of the run")
		}
	}
	return run, s.enqueue(ctx, outbox.StartCampaign, outbox.Run{RunID: run.ID, CampaignID: run.CampaignID, Number: run.Number}, run.StartedAt)
}

func (s *Store) setStatus(ctx context.Context, campaignID int64, status campaign.Status, reason string, now time.Time) error {
	err := s.q(ctx).CampaignSetStatus(ctx, dbsqlc.CampaignSetStatusParams{
		ID: int32(campaignID), Status: string(status), StatusReason: reason, Now: now,
	})
	return translate(err, "campaign status")
}

// leasePoll is how often a pause looks whether the requests under way have ended.
const leasePoll = 20 * time.Millisecond

// Steer pauses, resumes or cancels a campaign for the given reason. When a pause or a cancel returns, no send of the
// campaign starts any more and none is under way: it waits for the leases of open attempts, at most as long as one
// request may take. Asked for again, because an answer was lost, it waits again and changes nothing. by and reason are for
// the record; reason may be empty.
func (s *Store) Steer(ctx context.Context, campaignID int64, to campaign.Status, by, reason string, now time.Time) (campaign.Steering, error) {
	started := time.Now()
	runID, to, err := s.steer(ctx, campaignID, to, by, reason, now)
	if err != nil {
		return campaign.Steering{}, err
	}
	if to == campaign.Paused || to == campaign.Cancelled {
		if err := s.awaitLeases(ctx, runID, now, started); err != nil {
			return campaign.Steering{}, err
		}
	}
	states, err := s.RunStates(ctx, runID)
	if err != nil {
		return campaign.Steering{}, err
	}
	return campaign.Steering{
		Status: to, Sent: states.Accepted(), Remaining: states[message.Pending], Unresolved: states[message.Sending] + states[message.Unknown],
	}, nil
}

// steer changes the campaign's status and leaves word for the workflows concerned. The status it returns is SCHEDULED
// when a campaign is resumed before its time.
func (s *Store) steer(
	ctx context.Context, campaignID int64, to campaign.Status, by, reason string, now time.Time,
) (runID int64, status campaign.Status, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.q(ctx).CampaignGatesClose(ctx, []int32{int32(campaignID)}); err != nil {
			return translate(err, "gate of the campaign")
		}
		c, err := s.q(ctx).CampaignLock(ctx, int32(campaignID))
		if err != nil {
			return translate(err, fmt.Sprintf("campaign %d", campaignID))
		}
		from := campaign.Status(c.Status)
		if from == to && (to == campaign.Paused || to == campaign.Cancelled) {
			run, err := s.newestRun(ctx, campaignID)
			runID = run.ID
			return err
		}
		if to == campaign.Cancelled && c.ReplySenderID != nil {
			return campaign.IsBuiltIn()
		}
		if to == campaign.Running && from != campaign.Paused {
			return fault.New(fault.Conflict, "only a paused campaign can be resumed; this one is %s", from)
		}
		if err := from.Move(to); err != nil {
			return err
		}
		run, active, err := s.runToSteer(ctx, c)
		if err != nil {
			return err
		}
		runID = run.ID
		if to == campaign.Running {
			if err := s.q(ctx).RunResumed(ctx, dbsqlc.RunResumedParams{ID: run.ID, CanaryReason: ledger.CanaryReason, Now: &now}); err != nil {
				return translate(err, "resumed run")
			}
		}
		if to == campaign.Running && (!active || run.NotBefore != nil && run.NotBefore.After(now)) {
			to = campaign.Scheduled
		}
		if err := s.setStatus(ctx, campaignID, to, reason, now); err != nil {
			return err
		}
		if to == campaign.Cancelled {
			if err := s.unbounded(ctx); err != nil {
				return err
			}
			err := s.q(ctx).RunCancelPending(ctx, dbsqlc.RunCancelPendingParams{RunID: run.ID, Now: &now})
			if err != nil {
				return translate(err, "cancelled messages")
			}
			if err := s.cancelEnrolments(ctx, run.ID, int(c.RateLimitPerSecond), now); err != nil {
				return err
			}
		}
		if err := s.signalDispatched(ctx, run.ID, to, int(c.RateLimitPerSecond), now); err != nil {
			return err
		}
		if err := s.audit(ctx, by, "campaign."+string(to), fmt.Sprintf("campaign/%d", campaignID), map[string]any{"reason": reason}, now); err != nil {
			return err
		}
		if c.RecurrenceCron != "" {
			if err := s.enqueue(ctx, outbox.SyncRecurrence, outbox.Recurrence{CampaignID: campaignID}, now); err != nil {
				return err
			}
		}
		if run.ID == 0 {
			return nil
		}
		return s.enqueue(ctx, outbox.WakeCampaign, outbox.Run{RunID: run.ID, CampaignID: campaignID, Number: int(run.Number)}, now)
	})
	return runID, to, err
}

// runToSteer returns the run under way. A campaign that recurs has none between its occurrences: then it is the newest, of
// which something may have to be sent again, or one without an id before the first.
func (s *Store) runToSteer(ctx context.Context, c dbsqlc.CampaignLockRow) (run dbsqlc.RunActiveRow, active bool, err error) {
	run, err = s.q(ctx).RunActive(ctx, c.ID)
	if err == nil || !isNoRows(err) || c.RecurrenceCron == "" {
		return run, true, translate(err, "active run")
	}
	newest, err := s.q(ctx).RunsNewest(ctx, []int32{c.ID})
	if err != nil || len(newest) == 0 {
		return dbsqlc.RunActiveRow{}, false, translate(err, "newest run")
	}
	return dbsqlc.RunActiveRow{ID: newest[0].ID, Number: newest[0].Number}, false, nil
}

func (s *Store) newestRun(ctx context.Context, campaignID int64) (dbsqlc.CampaignRun, error) {
	runs, err := s.q(ctx).RunsNewest(ctx, []int32{int32(campaignID)})
	if err == nil && len(runs) == 0 {
		err = fault.New(fault.Conflict, "the campaign has no run")
	}
	if err != nil {
		return dbsqlc.CampaignRun{}, translate(err, "newest run")
	}
	return runs[0], nil
}

// unbounded lifts the limit on statements for the rest of the transaction. What concerns a whole run is all or nothing,
// however many messages there are: the limit is for questions.
func (s *Store) unbounded(ctx context.Context) error {
	_, err := s.conn(ctx).Exec(ctx, `SET LOCAL statement_timeout = 0`)
	return translate(err, "statement timeout")
}

// signalDispatched tells the workflows that wait because of the campaign's state what it is now. Those that are to send
// learn it at the rate of sending.
func (s *Store) signalDispatched(ctx context.Context, runID int64, to campaign.Status, ratePerSecond int, now time.Time) error {
	p := dbsqlc.RunSignalDispatchedParams{RunID: runID, Now: now}
	switch to {
	case campaign.Cancelled:
		p.State, p.Reason = string(message.Cancelled), message.ReasonCancelled
	case campaign.Running:
		p.State, p.Reason, p.SpacingSeconds = string(message.Pending), message.ReasonPaused, 1/float64(ratePerSecond)
	default:
		return nil
	}
	return translate(s.q(ctx).RunSignalDispatched(ctx, p), "signals to recipients")
}

// awaitLeases returns once no request of the run can be under way. now is the caller's time at the moment started.
func (s *Store) awaitLeases(ctx context.Context, runID int64, now, started time.Time) error {
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	for {
		requests, err := s.q(ctx).RunLeases(ctx, dbsqlc.RunLeasesParams{RunID: runID, Now: now.Add(time.Since(started))})
		if err != nil {
			return translate(err, "requests under way")
		}
		if requests == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Run is a campaign's run together with what the campaign says at this moment.
func (s *Store) Run(ctx context.Context, id int64) (ledger.Run, error) {
	r, err := s.q(ctx).RunGet(ctx, id)
	if err != nil {
		return ledger.Run{}, translate(err, fmt.Sprintf("run %d", id))
	}
	run := ledger.Run{
		Run:    toRun(r.CampaignRun),
		Status: campaign.Status(r.Status), RatePerSecond: int(r.RateLimitPerSecond), Priority: campaign.Priority(r.Priority),
		Quiet: quietHours(r.QuietStart, r.QuietEnd), Timezone: r.Timezone, Portfolio: int64(r.PortfolioID), Enrolled: r.Enrolled,
		Template: render.Best(approvals(r.Approvals)), TemplateReason: r.ApprovalReason,
		StartWithin: fromMinutes(r.StartWithinMinutes),
	}
	if run.Kind.Scheduled() {
		began := run.StartedAt
		if run.FrozenAt != nil {
			began = *run.FrozenAt
		}
		run.Schedule = schedule(r.ScheduleLocalTime, r.StartWithinMinutes, began)
	}
	return run, nil
}

func approvals(names []string) []render.Approval {
	all := make([]render.Approval, len(names))
	for i, name := range names {
		all[i] = render.Approval(name)
	}
	return all
}

// HoldForTemplate notes on the run's messages that no batch holds yet that they wait for the template to be approved.
func (s *Store) HoldForTemplate(ctx context.Context, runID int64, steps []compliance.Finding, now time.Time) error {
	raw, err := json.Marshal(steps)
	if err != nil {
		return fmt.Errorf("steps: %w", err)
	}
	return translate(s.q(ctx).RunHoldForTemplate(ctx, dbsqlc.RunHoldForTemplateParams{
		RunID: runID, Reason: string(compliance.AwaitsApproval), Steps: raw, Now: now,
	}), "run that waits for its template")
}

// ReleaseTemplate takes back what HoldForTemplate noted.
func (s *Store) ReleaseTemplate(ctx context.Context, runID int64, now time.Time) error {
	return translate(s.q(ctx).RunReleaseTemplate(ctx, dbsqlc.RunReleaseTemplateParams{
		RunID: runID, Reason: string(compliance.AwaitsApproval), Now: now,
	}), "run that waited for its template")
}

// UnsettledRuns lists the runs whose workflow ought to be alive, but for those started after the given moment.
func (s *Store) UnsettledRuns(ctx context.Context, startedBefore time.Time) ([]outbox.Run, error) {
	rows, err := s.q(ctx).RunsUnsettled(ctx, startedBefore)
	if err != nil {
		return nil, translate(err, "unsettled runs")
	}
	runs := make([]outbox.Run, len(rows))
	for i, r := range rows {
		runs[i] = outbox.Run{RunID: r.ID, CampaignID: int64(r.CampaignID), Number: int(r.Number)}
	}
	return runs, nil
}

// LastBatch returns the number of the newest batch of a run; 0 before the first.
func (s *Store) LastBatch(ctx context.Context, runID int64) (int, error) {
	n, err := s.q(ctx).RunLastBatch(ctx, runID)
	return int(n), translate(err, "batches")
}

// reopen sees to it that settled runs in which something has to be sent again are carried on.
func (s *Store) reopen(ctx context.Context, runIDs []int64, now time.Time) error {
	rows, err := s.q(ctx).RunReopen(ctx, runIDs)
	if err != nil {
		return translate(err, "run")
	}
	for _, r := range rows {
		if err := s.enqueue(ctx, outbox.StartCampaign, outbox.Run{RunID: r.ID, CampaignID: int64(r.CampaignID), Number: int(r.Number)}, now); err != nil {
			return err
		}
	}
	return nil
}

// freezeAudience numbers the audience, those who may be sent to first and neighbours by zones, region and law, and writes a
// message for each. It takes what judgedPeople takes.
const freezeAudience = `
WITH audience AS MATERIALIZED (
    SELECT u.id, u.zones, u.region, j.law, v.reason,
           row_number() OVER (ORDER BY v.reason <> '', u.zones, u.region, j.law, u.id)::integer AS seq` +
	judgedPeople + freezeJudged

// judgedPeople selects an audience and says of each person why a freeze suppresses their message, an empty text when it does
// not. A forecast selects from it as well. It takes the condition that selects them, the number of the argument that lists
// the places whose law is known, and the condition of those who are left out; audience fills them in and returns the
// arguments.
const judgedPeople = `
    FROM users u
    CROSS JOIN LATERAL (SELECT CASE WHEN u.jurisdiction = ANY($%[2]d::text[]) THEN u.jurisdiction WHEN u.region = ANY($%[2]d::text[]) THEN u.region ELSE '' END AS law) j
    CROSS JOIN LATERAL (SELECT consent_reason(u.consent_state, u.suppressed && suppression_scopes($3, $4),
        $4::integer IS NOT NULL AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.topic_id = $4 AND s.user_id = u.id), %[3]s) AS reason) v
    WHERE %[1]s`

const freezeJudged = `
), written AS (
    INSERT INTO messages (id, run_id, user_id, seq, channel, state, reason, created_at, ended_at, updated_at)
    SELECT uuid_v7($2), $1, id, seq, $3, CASE WHEN reason = '' THEN 'pending' ELSE 'suppressed' END, reason,
           $2, CASE WHEN reason <> '' THEN $2 END, $2
    FROM audience
    RETURNING id, state, reason
), judged AS (
    INSERT INTO compliance_checks (message_id, action, reason, steps, created_at)
    SELECT id, 'suppress', reason, jsonb_build_array(jsonb_build_object('step', 'consent', 'result', 'failed', 'detail', reason)), $2
    FROM written WHERE state = 'suppressed'
), grouped AS (
    INSERT INTO cohorts (run_id, number, seq_from, seq_to, next_seq, zones, region, jurisdiction)
    SELECT $1, row_number() OVER (ORDER BY min(seq)), min(seq), max(seq), min(seq), zones, region, law
    FROM audience WHERE reason = '' GROUP BY zones, region, law
)
UPDATE campaign_runs SET frozen_at = $2, audience_size = (SELECT count(*) FROM audience) WHERE id = $1`

// Freeze writes the run's audience into the ledger, once: whoever may not be sent to at all is suppressed there and
// then, the rest is pending, or cancelled with the campaign. A second call changes nothing. It also makes a scheduled
// campaign RUNNING.
func (s *Store) Freeze(ctx context.Context, run ledger.Run, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		locked, err := s.q(ctx).RunLock(ctx, run.ID)
		if err != nil {
			return translate(err, "run")
		}
		if locked.FrozenAt != nil {
			return nil
		}
		if locked.FinishedAt != nil { // cancelled before it began: a later run must not let it begin after all
			return translate(s.q(ctx).RunFreezeNobody(ctx, dbsqlc.RunFreezeNobodyParams{ID: run.ID, Now: &now}), "run")
		}
		freeze, args, err := s.audience(ctx, freezeAudience, locked, now)
		if err != nil {
			return err
		}
		if err := s.planWithArguments(ctx); err != nil {
			return err
		}
		if _, err := s.conn(ctx).Exec(ctx, freeze, args...); err != nil {
			return translate(err, "freeze of the audience")
		}
		c, err := s.q(ctx).CampaignLock(ctx, int32(run.CampaignID))
		if err != nil {
			return translate(err, "campaign")
		}
		if campaign.Status(c.Status) == campaign.Cancelled { // whoever cancelled it found no messages yet
			return translate(s.q(ctx).RunCancelPending(ctx, dbsqlc.RunCancelPendingParams{RunID: run.ID, Now: &now}), "cancelled messages")
		}
		return translate(s.q(ctx).RunScheduleReached(ctx, dbsqlc.RunScheduleReachedParams{CampaignID: int32(run.CampaignID), Now: now}), "campaign status")
	})
}

// audience returns the statement, which takes what judgedPeople takes, filled in for the audience of a run, or of one that is
// not started yet and has no id, and its arguments.
func (s *Store) audience(ctx context.Context, statement string, run dbsqlc.CampaignRun, now time.Time) (filled string, args []any, err error) {
	source, err := s.q(ctx).AudienceSource(ctx, dbsqlc.AudienceSourceParams{RunID: run.ID, CampaignID: run.CampaignID})
	if err != nil {
		return "", nil, translate(err, "audience")
	}
	where, selection, err := s.audienceOf(ctx, run, source, now)
	if err != nil {
		return "", nil, err
	}
	excluded, exclusion, err := s.excluded(ctx, source.ExcludeSegmentIds, now, audienceArgs+len(selection))
	if err != nil {
		return "", nil, err
	}
	args = append([]any{run.ID, now, source.Channel, source.SubscriptionTopicID}, append(selection, exclusion...)...)
	args = append(args, s.law.Places())
	return fmt.Sprintf(statement, where, len(args), excluded), args, nil
}

// audienceArgs are the arguments of judgedPeople before those of the conditions.
const audienceArgs = 4

// audienceOf returns the condition that selects the run's audience, and its arguments from $5 on: the segment's, or that of
// a retry.
func (s *Store) audienceOf(
	ctx context.Context, r dbsqlc.CampaignRun, source dbsqlc.AudienceSourceRow, now time.Time,
) (where string, args []any, err error) {
	if campaign.Kind(r.Kind) == campaign.ByRetry {
		return retriedPeople, []any{r.CampaignID, r.RetryStates, r.RetryErrorCodes}, nil
	}
	return s.selection(ctx, source.Definition, now, audienceArgs)
}

// selection returns the condition on u that a definition stands for, and its arguments from $argOffset+1 on.
func (s *Store) selection(ctx context.Context, definition json.RawMessage, now time.Time, argOffset int) (where string, args []any, err error) {
	expr, err := segment.Parse("segment", definition)
	if err != nil {
		return "", nil, err
	}
	resolved, err := s.resolve(ctx, "segment", expr)
	if err != nil {
		return "", nil, err
	}
	where, args = segment.Compile(resolved, now, argOffset)
	return where, args, nil
}

// excluded returns the condition on u of whoever is in one of the segments, which holds for nobody when there are none, and
// its arguments from $argOffset+1 on.
func (s *Store) excluded(ctx context.Context, segmentIDs []int32, now time.Time, argOffset int) (where string, args []any, err error) {
	if len(segmentIDs) == 0 {
		return "false", nil, nil
	}
	resolved, err := s.resolve(ctx, "exclude_segment_ids", segment.AnyOf(toInt64(segmentIDs)))
	if err != nil {
		return "", nil, err
	}
	where, args = segment.Compile(resolved, now, argOffset)
	return where, args, nil
}

// excludedOf returns those of the people who are in one of the segments.
func (s *Store) excludedOf(ctx context.Context, userIDs []int64, segmentIDs []int32, now time.Time) ([]int64, error) {
	if len(segmentIDs) == 0 || len(userIDs) == 0 {
		return nil, nil
	}
	where, args, err := s.excluded(ctx, segmentIDs, now, 1)
	if err != nil {
		return nil, err
	}
	rows, err := s.conn(ctx).Query(ctx, `SELECT u.id FROM users u WHERE u.id = ANY($1::bigint[]) AND (`+where+`)`, append([]any{userIDs}, args...)...)
	if err != nil {
		return nil, translate(err, "excluded people")
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	return ids, translate(err, "excluded people")
}

// RemainingCohorts lists the cohorts of the run that have messages in no batch yet.
func (s *Store) RemainingCohorts(ctx context.Context, runID int64) ([]ledger.Cohort, error) {
	rows, err := s.q(ctx).CohortsRemaining(ctx, runID)
	if err != nil {
		return nil, translate(err, "cohorts")
	}
	cohorts := make([]ledger.Cohort, len(rows))
	for i, r := range rows {
		cohorts[i] = ledger.Cohort{Number: int(r.Number), NextSeq: int(r.NextSeq), LastSeq: int(r.SeqTo), Zones: r.Zones, Law: s.law.Of(r.Jurisdiction), WaitsUntil: r.WaitsUntil}
	}
	return cohorts, nil
}

// HoldCohort notes on the messages of a cohort that no batch holds yet what they wait for, and until when.
func (s *Store) HoldCohort(
	ctx context.Context, runID int64, c ledger.Cohort, reason compliance.Reason, until time.Time, steps []compliance.Finding, now time.Time,
) error {
	raw, err := json.Marshal(steps)
	if err != nil {
		return fmt.Errorf("steps: %w", err)
	}
	return translate(s.q(ctx).CohortHold(ctx, dbsqlc.CohortHoldParams{
		RunID: runID, Number: int32(c.Number), Until: &until, Reason: string(reason), Steps: raw, Now: now,
	}), "waiting cohort")
}

// Backlog counts the messages of cut batches that are to be sent before the given moment, and those being sent.
func (s *Store) Backlog(ctx context.Context, runID int64, dueBefore time.Time) (waiting, sending int, err error) {
	n, err := s.q(ctx).RunBacklog(ctx, dbsqlc.RunBacklogParams{RunID: runID, DueBefore: &dueBefore})
	return int(n.Waiting), int(n.Sending), translate(err, "backlog")
}

// Batch returns the messages of a batch, in order, and whether it was cut at all.
func (s *Store) Batch(ctx context.Context, runID int64, number int) (seqs []int, cut bool, err error) {
	rows, err := s.q(ctx).BatchGet(ctx, dbsqlc.BatchGetParams{RunID: runID, Number: int32(number)})
	if isNoRows(err) {
		return nil, false, nil
	}
	return ints(rows), err == nil, translate(err, "batch")
}

// CutBatch takes the next size messages of a cohort into a batch and returns how many of them are still to be sent.
func (s *Store) CutBatch(ctx context.Context, runID int64, number int, c ledger.Cohort, size int, now time.Time) (int, error) {
	var seqs []int32
	err := s.InTx(ctx, func(ctx context.Context) error {
		last := min(c.NextSeq+size-1, c.LastSeq)
		err := s.q(ctx).CohortAdvance(ctx, dbsqlc.CohortAdvanceParams{RunID: runID, Number: int32(c.Number), NextSeq: int32(last + 1)})
		if err != nil {
			return translate(err, "cohort")
		}
		seqs, err = s.q(ctx).BatchCut(ctx, dbsqlc.BatchCutParams{
			RunID: runID, Number: int32(number), SeqFrom: int32(c.NextSeq), SeqTo: int32(last), Now: now,
		})
		return translate(err, "batch")
	})
	return len(seqs), err
}

// CutDue makes a batch of up to size messages that nobody drives though they ought to move: their retry is due, unless
// the campaign is paused, or they have not moved since the given moment. It reports whether there were any.
func (s *Store) CutDue(ctx context.Context, run ledger.Run, number, size int, since, now time.Time) (bool, error) {
	rows, err := s.q(ctx).BatchCutDue(ctx, dbsqlc.BatchCutDueParams{
		RunID: run.ID, Number: int32(number), AtMost: int32(size), UntouchedSince: since, Paused: run.Status == campaign.Paused && run.Kind != campaign.ByTest, Now: now,
	})
	return len(rows) > 0, translate(err, "messages that are due")
}

// OverdueReceipts lists up to atMost messages of the run, the oldest first, that were accepted before the given moment,
// of which nothing decisive was heard and about which nobody has asked the provider.
func (s *Store) OverdueReceipts(ctx context.Context, runID int64, acceptedBefore time.Time, atMost int) ([]ledger.Overdue, error) {
	rows, err := s.q(ctx).ReceiptsOverdue(ctx, dbsqlc.ReceiptsOverdueParams{RunID: runID, AcceptedBefore: &acceptedBefore, AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "overdue receipts")
	}
	overdue := make([]ledger.Overdue, len(rows))
	for i, r := range rows {
		overdue[i] = ledger.Overdue{MessageID: r.MessageID, AttemptID: r.AttemptID, SID: r.ProviderSid}
	}
	return overdue, nil
}

// OpenMessages counts the run's messages that are pending or sending and says when the first of them is due.
func (s *Store) OpenMessages(ctx context.Context, runID int64) (n int, firstDue time.Time, err error) {
	row, err := s.q(ctx).RunOpen(ctx, runID)
	if isNoRows(err) {
		return 0, time.Time{}, nil
	}
	return int(row.Open), row.FirstDue, translate(err, "open messages")
}

// UndecidedMessages counts the run's messages that still await a decisive receipt and says when the oldest was accepted.
func (s *Store) UndecidedMessages(ctx context.Context, runID int64) (n int, oldest time.Time, err error) {
	row, err := s.q(ctx).RunUndecided(ctx, runID)
	if isNoRows(err) {
		return 0, time.Time{}, nil
	}
	return int(row.Undecided), row.Oldest, translate(err, "undecided messages")
}

// FinishRun records that nothing of the run is pending or sending any more. A running campaign becomes COMPLETED, or
// SCHEDULED when it recurs; one that is paused stays as it is until it is resumed. A test's end is its own alone.
func (s *Store) FinishRun(ctx context.Context, run ledger.Run, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		c, err := s.q(ctx).CampaignLock(ctx, int32(run.CampaignID))
		if err != nil {
			return translate(err, "campaign")
		}
		if campaign.Status(c.Status) == campaign.Paused && run.Kind != campaign.ByTest {
			return nil
		}
		if err := s.q(ctx).RunFinish(ctx, dbsqlc.RunFinishParams{ID: run.ID, Now: &now}); err != nil {
			return translate(err, "run")
		}
		if campaign.Status(c.Status) != campaign.Running || run.Kind == campaign.ByTest {
			return nil
		}
		return s.setStatus(ctx, run.CampaignID, run.Kind.Ended(), "", now)
	})
}

// MissRun ends a run for good that is too late to begin, for the given reason: its campaign is FAILED, or when it recurs
// awaits its next occurrence. Of a run that has begun after all, or whose campaign is over, it returns false and changes
// nothing.
func (s *Store) MissRun(ctx context.Context, run ledger.Run, reason string, now time.Time) (missed bool, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		locked, err := s.q(ctx).RunLock(ctx, run.ID)
		if err != nil {
			return translate(err, "run")
		}
		c, err := s.q(ctx).CampaignLock(ctx, int32(run.CampaignID))
		if err != nil {
			return translate(err, "campaign")
		}
		if locked.FrozenAt != nil || locked.FinishedAt != nil || !campaign.Status(c.Status).Active() {
			return nil
		}
		missed = true
		if err := s.FailRun(ctx, run, reason, now); err != nil {
			return err
		}
		if run.Kind == campaign.ByRecurrence {
			if err := s.setStatus(ctx, run.CampaignID, campaign.Scheduled, reason, now); err != nil {
				return err
			}
		}
		return s.audit(ctx, "engine", "campaign.missed", fmt.Sprintf("campaign/%d", run.CampaignID), map[string]any{"run": run.Number, "reason": reason}, now)
	})
	return missed, err
}

// FailRun ends a run that cannot be carried out, and its campaign with it, be it one that recurs. Nothing of it was sent.
func (s *Store) FailRun(ctx context.Context, run ledger.Run, reason string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		if err := s.q(ctx).RunFinish(ctx, dbsqlc.RunFinishParams{ID: run.ID, Now: &now}); err != nil {
			return translate(err, "run")
		}
		if err := s.SettleRun(ctx, run.ID, now); err != nil {
			return err
		}
		if run.Kind == campaign.ByRecurrence {
			if err := s.enqueue(ctx, outbox.SyncRecurrence, outbox.Recurrence{CampaignID: run.CampaignID}, now); err != nil {
				return err
			}
		}
		return s.setStatus(ctx, run.CampaignID, campaign.Failed, reason, now)
	})
}

// SettleRun records that no receipt of the run is awaited any more.
func (s *Store) SettleRun(ctx context.Context, runID int64, now time.Time) error {
	return translate(s.q(ctx).RunSettle(ctx, dbsqlc.RunSettleParams{ID: runID, Now: &now}), "run")
}

// RunStates counts the run's messages by state.
func (s *Store) RunStates(ctx context.Context, runID int64) (ledger.States, error) {
	rows, err := s.q(ctx).RunStates(ctx, runID)
	if err != nil {
		return nil, translate(err, "states of the run")
	}
	states := ledger.States{}
	for _, r := range rows {
		states[message.State(r.State)] = int(r.Messages)
	}
	return states, nil
}

// schedule is a time by everyone's own clock of a run that began at that moment.
func schedule(local string, within *int32, began time.Time) ledger.Schedule {
	if local == "" {
		return ledger.Schedule{}
	}
	return ledger.Schedule{Local: toLocalTime(local), Within: fromMinutes(within), Began: began}
}

func quietHours(start, end *int16) compliance.QuietHours {
	if start == nil || end == nil {
		return compliance.QuietHours{}
	}
	return compliance.QuietHours{Start: int(*start), End: int(*end)}
}

func ints(in []int32) []int {
	out := make([]int, len(in))
	for i, n := range in {
		out[i] = int(n)
	}
	return out
}
