package api

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/inbound"
)

type replyStore interface {
	// Replies and SetReplies are about the texts that stand for the standard ones.
	Replies(ctx context.Context) ([]inbound.ReplyText, error)
	SetReplies(ctx context.Context, texts []inbound.ReplyText, actor string, now time.Time) error
}

func (s *server) GetReplies(ctx context.Context, _ openapi.GetRepliesRequestObject) (openapi.GetRepliesResponseObject, error) {
	own, err := s.Store.Replies(ctx)
	return openapi.GetReplies200JSONResponse(showReplies(own)), err
}

func (s *server) SetReplies(ctx context.Context, r openapi.SetRepliesRequestObject) (openapi.SetRepliesResponseObject, error) {
	own := each(r.Body.Replies, func(t openapi.Reply) inbound.ReplyText {
		return inbound.ReplyText{Kind: inbound.ReplyKind(t.Kind), Locale: t.Locale, Text: t.Text}
	})
	if err := inbound.CheckReplies("replies", own); err != nil {
		return nil, err
	}
	err := s.Store.SetReplies(ctx, own, principalOf(ctx).Name, s.Now())
	return openapi.SetReplies200JSONResponse(showReplies(own)), err
}

func showReplies(own []inbound.ReplyText) openapi.Replies {
	show := func(t inbound.ReplyText) openapi.Reply {
		return openapi.Reply{Kind: openapi.ReplyKind(t.Kind), Locale: t.Locale, Text: t.Text}
	}
	return openapi.Replies{Standard: each(inbound.StandardReplies(), show), Replies: each(own, show)}
}
