package db

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

// Delivery reads all that a send of the run's message seq needs to know.
func (s *Store) Delivery(ctx context.Context, runID int64, seq int) (ledger.Delivery, error) {
	r, err := s.q(ctx).DeliveryGet(ctx, dbsqlc.DeliveryGetParams{RunID: runID, Seq: int32(seq)})
	if err != nil {
		return ledger.Delivery{}, translate(err, fmt.Sprintf("message %d of run %d", seq, runID))
	}
	return s.toDelivery(r)
}

func (s *Store) toDelivery(r dbsqlc.DeliveryGetRow) (ledger.Delivery, error) {
	d := ledger.Delivery{
		MessageID: r.ID, State: message.State(r.State), Reason: r.Reason, WaitsUntil: r.WaitsUntil, AcceptedAt: r.AcceptedAt,
		RunID: r.RunID, RunNumber: int(r.RunNumber), CampaignID: int64(r.CampaignID), SenderID: int64(r.SenderID),
		CampaignStatus: campaign.Status(r.CampaignStatus),
		Test:           r.Test, Invitation: r.Invitation,
		RatePerSecond: int(r.RateLimitPerSecond), Priority: campaign.Priority(r.Priority), Quiet: quietHours(r.QuietStart, r.QuietEnd), Timezone: r.Timezone,
		Channel: message.Channel(r.Channel), Content: r.Content, Sender: r.Sender,
		Schedule: schedule(r.ScheduleLocalTime, r.StartWithinMinutes, r.BeganAt),
		Scopes:   r.Scopes, Suppressed: r.Suppressed,
		Limits: compliance.Limits{
			PairInterval: time.Duration(r.PairIntervalSeconds) * time.Second, LastMessage: moment(r.LastMessageAt),
			Capped: r.Capped, CappedUntil: moment(r.CappedUntil),
			Portfolio: int64(deref(r.PortfolioID)), MessagingLimit: int(deref(r.MessagingLimit)), PlaceFrees: moment(r.PlaceFreesAt),
			LastInbound: deref(r.LastInboundAt),
		},
	}
	if r.SubscriptionTopicID != nil {
		d.Subscribed = &r.Subscribed
	}
	if r.Reply != nil { // no cap and no pair rate holds for a reply
		kind := inbound.ReplyKind(*r.Reply)
		d.Reply = &compliance.Reply{Stop: kind == inbound.ReplyStop, Help: kind == inbound.ReplyHelp, AskedAt: r.CreatedAt}
		d.Limits = compliance.Limits{}
		if d.Reply.Help {
			d.Scopes = []string{}
		}
	}
	d.WindowPolicy, d.Category, d.CollapseWhitespace, d.ErrorCode = campaign.WindowPolicy(r.WindowPolicy), render.Category(r.Category), r.CollapseWhitespace, value(r.ErrorCode)
	var err error
	if d.Variants, err = toVariants(r.Variants); err != nil {
		return ledger.Delivery{}, err
	}
	if r.UserID == nil || r.PhoneNumber == nil || r.ConsentState == nil {
		return d, nil
	}
	d.UserID, d.Phone, d.Consent, d.Zones = *r.UserID, phone.Number(*r.PhoneNumber), user.ConsentState(*r.ConsentState), r.Zones
	d.Law = s.law.Of(deref(r.Jurisdiction))
	d.LastInboundAt = r.LastInboundAt
	if r.Region != nil {
		d.Region = *r.Region
	}
	if err := json.Unmarshal(r.Attributes, &d.Attributes); err != nil {
		return ledger.Delivery{}, fmt.Errorf("attributes of a user: %w", err)
	}
	if r.Variables != nil { // what the event says goes before what is known of the person
		if err := json.Unmarshal(r.Variables, &d.Attributes); err != nil {
			return ledger.Delivery{}, fmt.Errorf("variables of message %s: %w", d.MessageID, err)
		}
	}
	return d, nil
}

// Wait notes on a pending message what it waits for, and until when. It does not, and returns false, when the message
// or the campaign is no longer what d says: a resume or a change of the quiet hours would pass the sleeper by.
func (s *Store) Wait(ctx context.Context, d ledger.Delivery, reason string, until time.Time, steps []compliance.Finding, now time.Time) (noted bool, err error) {
	raw, err := json.Marshal(steps)
	if err != nil {
		return false, fmt.Errorf("steps: %w", err)
	}
	err = s.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.q(ctx).CampaignGate(ctx, int32(d.CampaignID)); err != nil {
			return err
		}
		rows, err := s.q(ctx).MessageWait(ctx, dbsqlc.MessageWaitParams{
			ID: d.MessageID, Reason: reason, Until: &until, Steps: raw, Now: now, CampaignID: int32(d.CampaignID),
			CampaignStatus: string(d.CampaignStatus), QuietStart: int32(d.Quiet.Start), QuietEnd: int32(d.Quiet.End), Priority: string(d.Priority),
			PortfolioID: int32(d.Limits.Portfolio), MessagingLimit: int32(d.Limits.MessagingLimit),
			WindowPolicy: string(cmp.Or(d.WindowPolicy, campaign.ByTemplate)),
		})
		noted = rows > 0
		return err
	})
	return noted, translate(err, "wait")
}

// Suppress ends a pending message because compliance forbids it.
func (s *Store) Suppress(ctx context.Context, id uuid.UUID, reason string, steps []compliance.Finding, now time.Time) error {
	raw, err := json.Marshal(steps)
	if err != nil {
		return fmt.Errorf("steps: %w", err)
	}
	err = s.q(ctx).MessageSuppress(ctx, dbsqlc.MessageSuppressParams{ID: id, Reason: reason, Steps: raw, Now: now})
	return translate(err, "suppression")
}

// Cancel ends a pending message because its campaign was cancelled, or its person erased.
func (s *Store) Cancel(ctx context.Context, id uuid.UUID, reason string, now time.Time) error {
	return translate(s.q(ctx).MessageCancel(ctx, dbsqlc.MessageCancelParams{ID: id, Reason: reason, Now: &now}), "cancelled message")
}

// Begin opens an attempt at a pending message: the one step that decides that it is sent now, by this caller and by no
// other. It re-reads what may have changed, the campaign's status, the person's consent and suppressions and what else
// they were sent, and holds it until the attempt is recorded, so that a pause or a STOP that was answered before is never
// overtaken, and no two messages take the last place that a limit leaves.
func (s *Store) Begin(ctx context.Context, d ledger.Delivery, a ledger.Attempt, steps []compliance.Finding) (ledger.Begun, error) {
	raw, err := json.Marshal(steps)
	if err != nil {
		return "", fmt.Errorf("steps: %w", err)
	}
	var portfolio int32
	places := d.Limits.TakesPlace(a.StartedAt)
	if places {
		portfolio = int32(d.Limits.Portfolio)
	}
	statuses := sendingStatuses
	if d.Test {
		statuses = anyStatus
	}
	row, err := s.q(ctx).AttemptBegin(ctx, dbsqlc.AttemptBeginParams{
		CampaignID: int32(d.CampaignID), UserID: d.UserID, SendingStatuses: statuses, SendableConsents: consentsOf(d),
		MessageID: d.MessageID, AttemptID: a.ID, LeaseUntil: a.LeaseUntil, GrantedAt: &a.GrantedAt, Now: a.StartedAt,
		BodySha256: a.BodySHA256[:], ContentSid: none(a.ContentSID), Steps: raw, Scopes: d.Scopes,
		Limited: places || d.Limits.Capped || d.Limits.PairInterval > 0, PairSeconds: int32(d.Limits.PairInterval / time.Second), Capped: d.Limits.Capped,
		PortfolioID: portfolio,
	})
	switch {
	case err != nil:
		return "", translate(err, "attempt")
	case !d.Test && !campaign.Status(row.CampaignStatus).MaySend():
		return ledger.NotRunning, nil
	case !d.MayBegin(user.ConsentState(row.ConsentState)), row.Suppressed:
		return ledger.NotConsenting, nil
	case row.Refusal != "":
		return ledger.NotNow, nil
	case row.AttemptNumber == 0:
		return ledger.NotMine, nil
	default:
		return ledger.BegunNow, nil
	}
}

// The statuses and states of consent that let a send begin, as the database is asked for them.
var (
	anyStatus        = namesOf(campaign.Statuses(), func(campaign.Status) bool { return true }) // of a test
	sendingStatuses  = namesOf(campaign.Statuses(), campaign.Status.MaySend)
	sendableConsents = namesOf(user.ConsentStates(), user.ConsentState.Sendable)
)

// consentsOf are the states of consent in which a send of the delivery may begin.
func consentsOf(d ledger.Delivery) []string {
	if d.Reply == nil && !d.Invitation {
		return sendableConsents
	}
	return namesOf(user.ConsentStates(), d.MayBegin)
}

func namesOf[T ~string](all []T, keep func(T) bool) []string {
	var names []string
	for _, v := range all {
		if keep(v) {
			names = append(names, string(v))
		}
	}
	return names
}

// Accept records that the provider took the message under this SID. When a receipt told so first, it changes nothing.
func (s *Store) Accept(ctx context.Context, attemptID uuid.UUID, sid string, httpStatus int, now time.Time) error {
	err := s.q(ctx).AttemptAccepted(ctx, dbsqlc.AttemptAcceptedParams{
		ID: attemptID, ProviderSid: &sid, HttpStatus: nonZero(httpStatus), Now: &now,
	})
	return translate(err, "acceptance")
}

// Refuse records that the provider certainly does not have the message, and what becomes of it: pending again until a
// moment, or failed; unless an earlier attempt turned out to be accepted.
func (s *Store) Refuse(ctx context.Context, attemptID uuid.UUID, state ledger.AttemptState, o message.Outcome, then ledger.Then, now time.Time) error {
	then.ErrorCode = o.Code
	return s.conclude(ctx, dbsqlc.AttemptEndParams{
		ID: attemptID, State: string(state), HttpStatus: nonZero(o.HTTPStatus), ErrorCode: nonZero(o.Code), Detail: o.Detail, Now: &now,
	}, then, now)
}

// conclude ends an open attempt that came to nothing and moves its message. One that is not open any more is left alone.
func (s *Store) conclude(ctx context.Context, end dbsqlc.AttemptEndParams, then ledger.Then, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).MessageOfAttemptLock(ctx, end.ID)
		if err != nil {
			return translate(err, "message of an attempt")
		}
		attempts, err := s.attemptsOf(ctx, []uuid.UUID{row.ID})
		if err != nil {
			return err
		}
		list := attempts[row.ID]
		i := slices.IndexFunc(list, func(a ledger.Attempt) bool { return a.ID == end.ID })
		if ended, err := s.q(ctx).AttemptEnd(ctx, end); err != nil || ended == 0 {
			return translate(err, "end of an attempt")
		}
		m := ledger.Message{
			State: message.State(row.State), Reason: row.Reason, WaitsUntil: row.WaitsUntil, ErrorCode: value(row.ErrorCode),
			AcceptedAt: row.AcceptedAt, SentAt: row.SentAt, DeliveredAt: row.DeliveredAt, ReadAt: row.ReadAt, EndedAt: row.EndedAt,
		}
		m.Conclude(list, i, then, now)
		return s.saveMessages(ctx, []dbsqlc.MessageUpdateParams{messageUpdate(row.ID, m, now)})
	})
}

// NoteUncertain keeps what is known of a request whose outcome is not; its attempt stays open.
func (s *Store) NoteUncertain(ctx context.Context, attemptID uuid.UUID, o message.Outcome) error {
	err := s.q(ctx).AttemptUncertain(ctx, dbsqlc.AttemptUncertainParams{ID: attemptID, HttpStatus: nonZero(o.HTTPStatus), Detail: o.Detail})
	return translate(err, "uncertain outcome")
}

// OpenAttempt returns the attempt of a sending message; ok is false when none is open.
func (s *Store) OpenAttempt(ctx context.Context, messageID uuid.UUID) (a ledger.Attempt, ok bool, err error) {
	r, err := s.q(ctx).AttemptOpen(ctx, messageID)
	if isNoRows(err) {
		return a, false, nil
	} else if err != nil {
		return a, false, translate(err, "open attempt")
	}
	a = ledger.Attempt{
		ID: r.ID, Number: int(r.Number), State: ledger.Open, LeaseUntil: r.LeaseUntil, StartedAt: r.StartedAt,
		Looks: int(r.Looks), FailedLooks: int(r.FailedLooks),
	}
	copy(a.BodySHA256[:], r.BodySha256)
	if r.ContentSid != nil {
		a.ContentSID = *r.ContentSid
	}
	return a, true, nil
}

// StandingSID returns the newest attempt that the provider took and the carrier did not fail, and its SID; "" when there
// is none.
func (s *Store) StandingSID(ctx context.Context, messageID uuid.UUID) (attemptID uuid.UUID, sid string, err error) {
	r, err := s.q(ctx).AttemptStanding(ctx, messageID)
	if isNoRows(err) {
		return uuid.Nil, "", nil
	} else if err != nil || r.ProviderSid == nil {
		return r.ID, "", translate(err, "standing attempt")
	}
	return r.ID, *r.ProviderSid, nil
}

// NoteLook counts a look at the provider's list; failed when the list could not be read.
func (s *Store) NoteLook(ctx context.Context, attemptID uuid.UUID, failed bool) error {
	p := dbsqlc.AttemptLookedParams{ID: attemptID, Looked: 1}
	if failed {
		p.Looked, p.Failed = 0, 1
	}
	return translate(s.q(ctx).AttemptLooked(ctx, p), "look")
}

// GiveUp ends the search for an attempt's outcome: the message is unknown until a person, or a late receipt, decides;
// unless an earlier attempt turned out to be accepted.
func (s *Store) GiveUp(ctx context.Context, attemptID uuid.UUID, reason string, now time.Time) error {
	end := dbsqlc.AttemptEndParams{ID: attemptID, State: string(ledger.Unknown), Detail: reason, Now: &now}
	return s.conclude(ctx, end, ledger.Then{State: message.Unknown, Reason: reason}, now)
}

// Tried counts the attempts that used up one of the message's tries.
func (s *Store) Tried(ctx context.Context, messageID uuid.UUID) (int, error) {
	n, err := s.q(ctx).AttemptsCounted(ctx, messageID)
	return int(n), translate(err, "attempts")
}

// RefusedWith counts the attempts at a message that the provider refused with this code; 0 stands for none.
func (s *Store) RefusedWith(ctx context.Context, messageID uuid.UUID, code int) (int, error) {
	n, err := s.q(ctx).AttemptsRefusedWith(ctx, dbsqlc.AttemptsRefusedWithParams{MessageID: messageID, ErrorCode: nonZero(code)})
	return int(n), translate(err, "refused attempts")
}

// TakenSIDs returns those of the SIDs that belong to an attempt other than the given one.
func (s *Store) TakenSIDs(ctx context.Context, attemptID uuid.UUID, sids []string) (map[string]bool, error) {
	rows, err := s.q(ctx).SIDsTaken(ctx, dbsqlc.SIDsTakenParams{ID: attemptID, Sids: sids})
	if err != nil {
		return nil, translate(err, "taken SIDs")
	}
	taken := make(map[string]bool, len(rows))
	for _, sid := range rows {
		if sid != nil {
			taken[*sid] = true
		}
	}
	return taken, nil
}

// NoteOverdue notes that the provider was asked about an accepted message and knew nothing decisive.
func (s *Store) NoteOverdue(ctx context.Context, messageID uuid.UUID, now time.Time) error {
	return translate(s.q(ctx).MessageOverdue(ctx, dbsqlc.MessageOverdueParams{ID: messageID, Now: now}), "overdue receipt")
}

// moment is t, or zero for the epoch: there is none.
func moment(t time.Time) time.Time {
	if t.Unix() == 0 {
		return time.Time{}
	}
	return t
}

func nonZero(n int) *int32 {
	if n == 0 {
		return nil
	}
	v := int32(n)
	return &v
}
