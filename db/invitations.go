package db

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/render"
	"github.com/event-stream-engine/ese/internal/user"
)

// InvitationRules reads how people are asked for their consent.
func (s *Store) InvitationRules(ctx context.Context) (user.InvitationRules, error) {
	row, err := s.q(ctx).InvitationSettingsGet(ctx)
	return user.InvitationRules{
		ConfirmWithin: time.Duration(row.ConfirmWithinHours) * time.Hour, InviteAgain: time.Duration(row.InviteAgainAfterDays) * 24 * time.Hour, Words: row.Words,
	}, translate(err, "rules of invitations")
}

// SetInvitationRules replaces the rules by these, which were checked. Invitations under way keep the time that they give.
func (s *Store) SetInvitationRules(ctx context.Context, r user.InvitationRules, actor string, now time.Time) error {
	return s.InTx(ctx, func(ctx context.Context) error {
		was, err := s.InvitationRules(ctx)
		if err != nil {
			return err
		}
		if err := s.q(ctx).InvitationSettingsSet(ctx, dbsqlc.InvitationSettingsSetParams{
			ConfirmWithinHours: int16(r.ConfirmWithin / time.Hour), InviteAgainAfterDays: int16(r.InviteAgain / (24 * time.Hour)), Words: notNil(r.Words),
		}); err != nil {
			return translate(err, "rules of invitations")
		}
		detail := changes{}
		detail.note("confirm_within_hours", int(was.ConfirmWithin.Hours()), int(r.ConfirmWithin.Hours()))
		detail.note("invite_again_after_days", int(was.InviteAgain.Hours()/24), int(r.InviteAgain.Hours()/24))
		detail.noteJSON("words", notNil(was.Words), notNil(r.Words))
		return s.audit(ctx, actor, "invitations.change", "invitations", detail, now)
	})
}

// Invite has a person who is PENDING asked for their consent, by that campaign or, with 0, by the newest that invites. The
// evidence says why. fault.Conflict when they may not be asked, or no campaign that invites is live.
func (s *Store) Invite(ctx context.Context, number phone.Number, campaignID int64, evidence, actor string, now time.Time) (sent user.Invitation, err error) {
	err = s.InTx(ctx, func(ctx context.Context) error {
		row, err := s.q(ctx).UserLock(ctx, string(number))
		if err != nil {
			return translate(err, "this user")
		}
		if err := s.inviteOne(ctx, row.ID, campaignID, evidence, actor, now); err != nil {
			return err
		}
		if sent, err = s.invitation(ctx, row.ID); err != nil {
			return err
		}
		return s.audit(ctx, actor, "user.invite", userSubject(row.ID), nil, now)
	})
	return sent, err
}

// Invitation reads the newest invitation of a person. fault.NotFound when they were never invited.
func (s *Store) Invitation(ctx context.Context, number phone.Number) (user.Invitation, error) {
	u, err := s.UserByPhone(ctx, number)
	if err != nil {
		return user.Invitation{}, err
	}
	return s.invitation(ctx, u.ID)
}

func (s *Store) invitation(ctx context.Context, userID int64) (user.Invitation, error) {
	all, err := s.invitations(ctx, userID, 1)
	if err == nil && len(all) == 0 {
		err = fault.New(fault.NotFound, "this user was never invited")
	}
	if err != nil {
		return user.Invitation{}, err
	}
	return all[0], nil
}

// invitations lists a person's invitations, newest first.
func (s *Store) invitations(ctx context.Context, userID int64, atMost int) ([]user.Invitation, error) {
	rows, err := s.q(ctx).InvitationsOfUser(ctx, dbsqlc.InvitationsOfUserParams{UserID: userID, AtMost: int32(atMost)})
	if err != nil {
		return nil, translate(err, "invitations")
	}
	found := make([]user.Invitation, len(rows))
	for i, r := range rows {
		found[i] = user.Invitation{
			MessageID: r.MessageID, CampaignID: int64(r.CampaignID), State: message.State(r.State), Reason: r.Reason, WaitsUntil: r.WaitsUntil,
			Evidence: r.Evidence, Actor: r.Actor, CreatedAt: r.CreatedAt, ConfirmedAt: r.ConfirmedAt,
		}
		if r.AcceptedAt != nil {
			until := r.AcceptedAt.Add(time.Duration(r.ConfirmWithinHours) * time.Hour)
			found[i].ConfirmUntil = &until
		}
	}
	return found, nil
}

// invitee is somebody to be invited, whose row the transaction holds.
type invitee struct {
	userID   int64
	evidence string
}

func (s *Store) inviteOne(ctx context.Context, userID, campaignID int64, evidence, actor string, now time.Time) error {
	run, err := s.invitingRun(ctx, campaignID)
	if err != nil {
		return err
	}
	refused, err := s.invite(ctx, run, []invitee{{userID, evidence}}, actor, now)
	if err == nil {
		err = refused[userID]
	}
	return err
}

// invitingRun is the open run of the campaign that invites, of the newest one with 0.
func (s *Store) invitingRun(ctx context.Context, campaignID int64) (dbsqlc.TriggeredRunsRow, error) {
	runs, err := s.q(ctx).TriggeredRuns(ctx, dbsqlc.TriggeredRunsParams{Trigger: string(campaign.OnInvitation), Names: []string{""}})
	if err != nil {
		return dbsqlc.TriggeredRunsRow{}, translate(err, "campaigns that invite")
	}
	if campaignID != 0 {
		runs = slices.DeleteFunc(runs, func(r dbsqlc.TriggeredRunsRow) bool { return int64(r.CampaignID) != campaignID })
		if len(runs) == 0 {
			return dbsqlc.TriggeredRunsRow{}, fault.Refuse("campaign_id", "campaign %d is not live, or its trigger is not %s", campaignID, campaign.OnInvitation)
		}
	}
	if len(runs) == 0 {
		return dbsqlc.TriggeredRunsRow{}, fault.New(fault.Conflict, "no campaign that invites is live: create one whose trigger is %s, and start it", campaign.OnInvitation)
	}
	return runs[len(runs)-1], nil
}

// invite adds a message for each of the people who may be invited, and says of the others why they may not.
func (s *Store) invite(ctx context.Context, run dbsqlc.TriggeredRunsRow, people []invitee, actor string, now time.Time) (refused map[int64]error, err error) {
	rules, err := s.InvitationRules(ctx)
	if err != nil {
		return nil, err
	}
	evidences, ids := make(map[int64]string, len(people)), make([]int64, len(people))
	for i, p := range people {
		evidences[p.userID], ids[i] = p.evidence, p.userID
	}
	rows, err := s.q(ctx).InvitationPeople(ctx, dbsqlc.InvitationPeopleParams{Channel: run.Channel, UserIds: ids})
	if err != nil {
		return nil, translate(err, "people to invite")
	}
	refused = map[int64]error{}
	var list []ledger.Enlistment
	for _, row := range rows {
		if err := rules.Refuse(user.ConsentState(row.ConsentState), row.Suppressed, moment(row.InvitedAt), now); err != nil {
			refused[row.ID] = err
			continue
		}
		list = append(list, ledger.Enlistment{UserID: row.ID, DedupeKey: "invitation/" + now.UTC().Format(time.RFC3339)})
	}
	if len(list) == 0 {
		return refused, nil
	}
	enlisted, err := s.Enlist(ctx, run.ID, list, now)
	if err != nil {
		return nil, err
	}
	in := dbsqlc.InvitationsInsertParams{ConfirmWithinHours: int16(rules.ConfirmWithin / time.Hour), Actor: actor, Now: now}
	for i, e := range list {
		in.MessageIds, in.UserIds, in.Evidences = append(in.MessageIds, enlisted[i].MessageID), append(in.UserIds, e.UserID), append(in.Evidences, evidences[e.UserID])
	}
	return refused, translate(s.q(ctx).InvitationsInsert(ctx, in), "invitations")
}

// confirmation finds out whether a message of somebody PENDING, which is meant as intent so far, answers an invitation. It
// returns what is meant after all, and the invitation's message and text; a zero id when there is none to be answered.
func (s *Store) confirmation(ctx context.Context, m inbound.Message, userID int64, language string, intent user.Intent, now time.Time) (
	meant user.Intent, invitation uuid.UUID, text string, err error,
) {
	if intent.Action != user.ActionNone && intent.Action != user.ActionStart {
		return intent, uuid.Nil, "", nil
	}
	open, err := s.q(ctx).InvitationOpen(ctx, dbsqlc.InvitationOpenParams{UserID: userID, Channel: string(m.Channel), Now: now})
	if isNoRows(err) {
		return intent, uuid.Nil, "", nil
	} else if err != nil {
		return intent, uuid.Nil, "", translate(err, "invitation")
	}
	if intent.Action == user.ActionNone {
		rules, err := s.InvitationRules(ctx)
		if err != nil {
			return intent, uuid.Nil, "", err
		}
		confirming, ok := rules.Confirms(m.Body, m.ButtonText)
		if !ok {
			return intent, uuid.Nil, "", nil
		}
		intent = confirming
	}
	text, err = shownText(open.Variants, open.ContentSid, language)
	return intent, open.MessageID, text, err
}

// shownText is what an invitation said, with its placeholders: the provider's template that was sent says which of the
// texts it was, else the person's language does.
func shownText(raw json.RawMessage, contentSID *string, language string) (string, error) {
	variants, err := toVariants(raw)
	if err != nil || len(variants) == 0 {
		return "", err
	}
	if contentSID != nil {
		if i := slices.IndexFunc(variants, func(v render.Variant) bool { return v.ContentSID == *contentSID }); i >= 0 {
			return variants[i].Content, nil
		}
	}
	return render.Choose(variants, user.Attributes{"language": language}).Content, nil
}
