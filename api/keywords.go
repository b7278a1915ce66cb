package api

import (
	"context"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/user"
)

type keywordStore interface {
	// Keywords and SetKeywords are about the words that count besides the reserved ones.
	Keywords(ctx context.Context) ([]user.Word, error)
	SetKeywords(ctx context.Context, words []user.Word, actor string, now time.Time) error
}

func (s *server) GetKeywords(ctx context.Context, _ openapi.GetKeywordsRequestObject) (openapi.GetKeywordsResponseObject, error) {
	shown, err := s.keywords(ctx)
	return openapi.GetKeywords200JSONResponse(shown), err
}

func (s *server) SetKeywords(ctx context.Context, r openapi.SetKeywordsRequestObject) (openapi.SetKeywordsResponseObject, error) {
	words, err := user.CheckWords("additional", each(r.Body.Additional, func(w openapi.Keyword) user.Word {
		return user.Word{Action: user.Action(w.Action), Locale: w.Locale, Text: w.Text}
	}))
	if err != nil {
		return nil, err
	}
	if err := s.Store.SetKeywords(ctx, words, principalOf(ctx).Name, s.Now()); err != nil {
		return nil, err
	}
	shown, err := s.keywords(ctx)
	return openapi.SetKeywords200JSONResponse(shown), err
}

func (s *server) keywords(ctx context.Context) (openapi.Keywords, error) {
	additional, err := s.Store.Keywords(ctx)
	return openapi.Keywords{Reserved: each(user.ReservedWords(), showWord), Additional: each(additional, showWord)}, err
}

func showWord(w user.Word) openapi.Keyword {
	return openapi.Keyword{Action: openapi.KeywordAction(w.Action), Locale: w.Locale, Text: w.Text}
}
