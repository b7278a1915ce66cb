package db

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/inbound"
	"github.com/event-stream-engine/ese/internal/message"
	"github.com/event-stream-engine/ese/internal/report"
	"github.com/event-stream-engine/ese/internal/user"
)

// Timeline lists what happened with a person, newest first: decisions, messages to them, and what they wrote. It goes on
// behind the occurrence at that time and place; the zero time stands for the beginning.
func (s *Store) Timeline(ctx context.Context, userID int64, beforeAt time.Time, beforePlace string, atMost int) ([]report.Occurrence, error) {
	rows, err := s.q(ctx).UserTimeline(ctx, dbsqlc.UserTimelineParams{
		UserID: userID, BeforeAt: none(beforeAt), BeforePlace: beforePlace, AtMost: int32(atMost),
	})
	if err != nil {
		return nil, translate(err, "timeline")
	}
	found := make([]report.Occurrence, len(rows))
	for i, r := range rows {
		if found[i], err = toOccurrence(r); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func toOccurrence(r dbsqlc.UserTimelineRow) (report.Occurrence, error) {
	o := report.Occurrence{At: r.At, Place: r.Place}
	switch r.Kind {
	case "consent":
		o.Consent = &user.Event{
			State: user.ConsentState(r.State), Previous: user.ConsentState(r.Previous), Source: user.Source(r.Source), Evidence: r.Evidence,
			Wording: r.Wording, Actor: r.Actor, At: r.At,
		}
	case "topic":
		o.Topic = &user.Subscription{
			Topic: user.Topic{Name: r.About}, Subscribed: r.State == "subscribed", Source: user.Source(r.Source), Evidence: r.Evidence,
			Actor: r.Actor, ChangedAt: r.At,
		}
	case "message":
		id, err := uuid.Parse(r.Evidence)
		if err != nil {
			return o, fmt.Errorf("timeline: %w", err)
		}
		o.Message = &report.PersonMessage{
			ID: id, CampaignID: int64(r.CampaignID), Campaign: r.About, Channel: message.Channel(r.Channel), State: message.State(r.State),
			Reason: r.Previous, ErrorCode: int(r.ErrorCode),
		}
	default:
		o.Inbound = &report.Inbound{
			Channel: message.Channel(r.Channel), Kind: inbound.KindOf(toAction(r.State), r.Body, int(r.MediaCount)), Body: r.Body,
			MediaCount: int(r.MediaCount), ReceivedAt: r.At,
		}
	}
	return o, nil
}

// TimelineCounts counts what Timeline lists without bounds.
func (s *Store) TimelineCounts(ctx context.Context, userID int64) (report.PersonCounts, error) {
	r, err := s.q(ctx).UserTimelineCounts(ctx, userID)
	return report.PersonCounts{
		Decisions: int(r.Decisions), Messages: int(r.Messages), Waiting: int(r.Waiting), Inbound: int(r.Inbound),
	}, translate(err, "timeline")
}
