package db

import (
	"context"
	"fmt"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/ledger"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/outbox"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/user"
)

// Replies lists the texts that stand for the standard ones, by kind and language.
func (s *Store) Replies(ctx context.Context) ([]inbound.ReplyText, error) {
	rows, err := s.q(ctx).ReplyTexts(ctx)
	if err != nil {
		return nil, translate(err, "replies")
	}
	texts := make([]inbound.ReplyText, len(rows))
	for i, r := range rows {
		texts[i] = inbound.ReplyText{Kind: inbound.ReplyKind(r.Kind), Locale: r.Locale, Text: r.Text}
	}
	return texts, nil
}

// SetReplies makes these, which were checked, all the texts that stand for the standard ones.
func (s *Store) SetReplies(ctx context.Context, texts []inbound.ReplyText, actor string, now time.Time) error {
	p := dbsqlc.ReplyTextsReplaceParams{Kinds: []string{}, Locales: []string{}, Texts: []string{}}
	for _, t := range texts {
		p.Kinds, p.Locales, p.Texts = append(p.Kinds, string(t.Kind)), append(p.Locales, t.Locale), append(p.Texts, t.Text)
	}
	return s.InTx(ctx, func(ctx context.Context) error {
		was, err := s.Replies(ctx)
		if err != nil {
			return err
		}
		if err := s.q(ctx).ReplyTextsReplace(ctx, p); err != nil {
			return translate(err, "replies")
		}
		detail := changes{}
		detail.noteJSON("texts", replyTexts(was), replyTexts(texts))
		return s.audit(ctx, actor, "replies.change", "replies", detail, now)
	})
}

// replyTexts is what an audit event tells of the texts.
func replyTexts(texts []inbound.ReplyText) map[string]string {
	named := make(map[string]string, len(texts))
	for _, t := range texts {
		named[fmt.Sprintf("%s %s", t.Kind, t.Locale)] = t.Text
	}
	return named
}

// reply has a message answered that was just taken in, once, from the sender that it was written to. The transaction holds
// the person's row. A person whose replies of the last hour are many gets none, nor does one who wrote to a sender that is
// not ours.
func (s *Store) reply(
	ctx context.Context, m inbound.Message, kind inbound.ReplyKind, userID int64, languages []string, topic user.Topic, now time.Time,
) error {
	if kind == inbound.NoReply || m.To == "" {
		return nil
	}
	own, err := s.Replies(ctx)
	if err != nil {
		return err
	}
	text := inbound.Compose(kind, languages, topic.Name, own)
	if text == "" {
		return nil
	}
	replies, err := s.q(ctx).RepliesSince(ctx, dbsqlc.RepliesSinceParams{UserID: userID, Since: now.Add(-inbound.ReplyWindow)})
	if err != nil || replies >= inbound.MaxRepliesPerHour {
		return translate(err, "replies")
	}
	runID, err := s.replyRun(ctx, m.Channel, m.To, now)
	if err != nil || runID == 0 {
		return err
	}
	_, err = s.Enlist(ctx, runID, []ledger.Enlistment{{
		UserID: userID, DedupeKey: "inbound/" + m.SID, Variables: user.Attributes{"text": text}, Reply: string(kind),
	}}, now)
	if fault.Is(err, fault.Conflict) { // the campaign takes none: that is no reason to lose what came in
		return nil
	}
	return err
}

// The built-in campaign.
const (
	replyRate    = 80                // messages a second
	replyTrigger = "automatic reply" // no event can be called so
	replyActor   = "replies"
)

// replyRun is the run of the built-in campaign of one of our addresses, which the first reply makes; 0 when the address is
// not ours.
func (s *Store) replyRun(ctx context.Context, channel message.Channel, address phone.Number, now time.Time) (int64, error) {
	find := func() (int64, error) {
		id, err := s.q(ctx).ReplyRun(ctx, dbsqlc.ReplyRunParams{Channel: string(channel), Address: string(address)})
		if isNoRows(err) {
			return 0, nil
		}
		return id, translate(err, "run of the replies")
	}
	if id, err := find(); err != nil || id != 0 {
		return id, err
	}
	sender, err := s.q(ctx).SenderByAddress(ctx, dbsqlc.SenderByAddressParams{Channel: string(channel), Address: string(address)})
	if isNoRows(err) {
		return 0, nil
	} else if err != nil {
		return 0, translate(err, "sender")
	}
	run, err := s.q(ctx).ReplyCampaignInsert(ctx, dbsqlc.ReplyCampaignInsertParams{
		TemplateName: "Automatic replies of " + string(channel) + " " + address.String(), Channel: string(channel), SenderID: sender,
		RateLimitPerSecond: replyRate, TriggerName: replyTrigger, StartedBy: replyActor, Now: now,
	})
	if isNoRows(err) {
		return find()
	} else if err != nil {
		return 0, translate(err, "campaign of the replies")
	}
	if err := s.q(ctx).EventRunOpen(ctx, dbsqlc.EventRunOpenParams{ID: run.ID, Now: &now}); err != nil {
		return 0, translate(err, "run of the replies")
	}
	return run.ID, s.enqueue(ctx, outbox.StartCampaign, outbox.Run{RunID: run.ID, CampaignID: int64(run.CampaignID), Number: int(run.Number)}, now)
}
