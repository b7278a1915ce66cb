package db

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/event-stream-engine/ese/db/internal/dbsqlc"
	"github.com/event-stream-engine/ese/internal/user"
)

// Keywords lists the words that count besides the reserved ones, by action, language and text.
func (s *Store) Keywords(ctx context.Context) ([]user.Word, error) {
	rows, err := s.q(ctx).KeywordList(ctx)
	return toWords(rows), translate(err, "keywords")
}

// SetKeywords makes these, which were checked, all the words that count besides the reserved ones.
func (s *Store) SetKeywords(ctx context.Context, words []user.Word, actor string, now time.Time) error {
	p := dbsqlc.KeywordsReplaceParams{Texts: []string{}, Actions: []string{}, Locales: []string{}}
	for _, w := range words {
		p.Texts, p.Actions, p.Locales = append(p.Texts, w.Text), append(p.Actions, string(w.Action)), append(p.Locales, w.Locale)
	}
	return s.InTx(ctx, func(ctx context.Context) error {
		was, err := s.Keywords(ctx)
		if err != nil {
			return err
		}
		if err := s.q(ctx).KeywordsReplace(ctx, p); err != nil {
			return translate(err, "keywords")
		}
		detail := changes{}
		detail.noteJSON("words", wordTexts(was), wordTexts(words))
		return s.audit(ctx, actor, "keywords.change", "keywords", detail, now)
	})
}

// wordTexts is what an audit event tells of keywords.
func wordTexts(words []user.Word) []string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = fmt.Sprintf("%s %s: %s", w.Action, w.Locale, w.Text)
	}
	slices.Sort(texts)
	return texts
}

// classify finds out what the parts of a message ask for.
func (s *Store) classify(ctx context.Context, body, buttonText, optOutType string, optedOut bool) (user.Intent, error) {
	var additional []user.Word
	if texts := user.WordTexts(body, buttonText); len(texts) > 0 {
		rows, err := s.q(ctx).KeywordsMatch(ctx, texts)
		if err != nil {
			return user.Intent{}, translate(err, "keywords")
		}
		additional = toWords(rows)
	}
	return user.Classify(body, buttonText, optOutType, optedOut, additional...), nil
}

func toWords(rows []dbsqlc.Keyword) []user.Word {
	words := make([]user.Word, len(rows))
	for i, r := range rows {
		words[i] = user.Word{Action: user.Action(r.Action), Locale: r.Locale, Text: r.Text}
	}
	return words
}
