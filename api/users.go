package api

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/user"
)

type userStore interface {
	CreateUser(ctx context.Context, number phone.Number, attributes user.Attributes, change user.Change, actor string, now time.Time) (user.User, error)
	UserByPhone(ctx context.Context, number phone.Number) (user.User, error)
	// Users and UserTotal take "" for any consent and any prefix.
	Users(ctx context.Context, consent user.ConsentState, prefix string, after *int64, atMost int) ([]user.User, error)
	UserTotal(ctx context.Context, consent user.ConsentState, prefix string) (int64, error)
	// UpdateUser leaves attributes alone when they are nil.
	UpdateUser(ctx context.Context, number phone.Number, attributes user.Attributes, change user.Change, actor string, now time.Time) (user.User, error)
}

func (s *server) ListUsers(ctx context.Context, r openapi.ListUsersRequestObject) (openapi.ListUsersResponseObject, error) {
	consent, prefix := user.ConsentState(value(r.Params.ConsentState)), ""
	if r.Params.Q != nil {
		prefix = "+" + strings.TrimLeft(*r.Params.Q, "+ ")
	}
	p, err := newPage(r.Params.Limit, r.Params.Cursor, consent, prefix)
	if err != nil {
		return nil, err
	}
	after, err := p.afterID()
	if err != nil {
		return nil, err
	}
	users, err := s.Store.Users(ctx, consent, prefix, after, p.fetch())
	if err != nil {
		return nil, err
	}
	total, err := s.Store.UserTotal(ctx, consent, prefix)
	if err != nil {
		return nil, err
	}
	users, next := cut(p, users, func(u user.User) int64 { return u.ID })
	shown, err := showUsers(users)
	return openapi.ListUsers200JSONResponse{Users: shown, NextCursor: next, Total: total}, err
}

func (s *server) CreateUser(ctx context.Context, r openapi.CreateUserRequestObject) (openapi.CreateUserResponseObject, error) {
	region, err := s.region(r.Body.DefaultRegion)
	if err != nil {
		return nil, err
	}
	number, err := phone.Parse(r.Body.PhoneNumber, region)
	if err != nil {
		return nil, err
	}
	attributes, err := user.ParseAttributes("attributes", r.Body.Attributes)
	if err != nil {
		return nil, err
	}
	change := user.Change{State: user.ConsentState(value(r.Body.ConsentState)), Source: user.SourceAPI, CallerIP: callerIP(ctx)}
	u, err := s.Store.CreateUser(ctx, number, attributes, change, principalOf(ctx).Name, s.Now())
	if err != nil {
		return nil, err
	}
	shown, err := showUser(u)
	return openapi.CreateUser201JSONResponse(shown), err
}

func (s *server) GetUser(ctx context.Context, r openapi.GetUserRequestObject) (openapi.GetUserResponseObject, error) {
	number, err := s.pathNumber(r.PhoneNumber)
	if err != nil {
		return nil, err
	}
	u, err := s.Store.UserByPhone(ctx, number)
	if err != nil {
		return nil, err
	}
	shown, err := showUser(u)
	return openapi.GetUser200JSONResponse(shown), err
}

func (s *server) UpdateUser(ctx context.Context, r openapi.UpdateUserRequestObject) (openapi.UpdateUserResponseObject, error) {
	var attributes user.Attributes
	if r.Body.Attributes != nil {
		var err error
		if attributes, err = user.ParseAttributes("attributes", r.Body.Attributes); err != nil {
			return nil, err
		}
	}
	shown, err := s.changeUser(ctx, r.PhoneNumber, attributes, user.Change{
		State: user.ConsentState(value(r.Body.ConsentState)), Source: user.SourceAPI, CallerIP: callerIP(ctx),
	})
	return openapi.UpdateUser200JSONResponse(shown), err
}

// SetConsent records a decision. Only as an operator's, who answers for the evidence, can it lift a STOP.
func (s *server) SetConsent(ctx context.Context, r openapi.SetConsentRequestObject) (openapi.SetConsentResponseObject, error) {
	change := user.Change{
		State: user.ConsentState(r.Body.ConsentState), Source: user.SourceAPI, Evidence: r.Body.Evidence, Wording: value(r.Body.Wording),
		CallerIP: callerIP(ctx),
	}
	if value(r.Body.Source) == openapi.ConsentSourceOperator {
		change.Source = user.SourceOperator
	}
	shown, err := s.changeUser(ctx, r.PhoneNumber, nil, change)
	return openapi.SetConsent200JSONResponse(shown), err
}

func (s *server) changeUser(ctx context.Context, path string, attributes user.Attributes, change user.Change) (openapi.User, error) {
	number, err := s.pathNumber(path)
	if err != nil {
		return openapi.User{}, err
	}
	u, err := s.Store.UpdateUser(ctx, number, attributes, change, principalOf(ctx).Name, s.Now())
	if err != nil {
		return openapi.User{}, err
	}
	return showUser(u)
}

// region is the country of numbers without a country code: the given one, else the engine's own.
func (s *server) region(given *string) (string, error) {
	if given == nil {
		return s.DefaultRegion, nil
	}
	if !phone.KnownRegion(*given) {
		return "", fault.Refuse("default_region", "is no country with telephone numbers; ISO 3166-1 alpha-2 is meant, such as LK")
	}
	return *given, nil
}

// pathNumber reads the number that a path names. There it is always international; a plus is easily lost on the way.
func (s *server) pathNumber(text string) (phone.Number, error) {
	if digit := text[:min(1, len(text))]; digit >= "1" && digit <= "9" {
		text = "+" + text
	}
	return phone.Parse(text, "")
}

func showUser(u user.User) (openapi.User, error) {
	attributes, err := json.Marshal(u.Attributes)
	if err != nil {
		return openapi.User{}, err
	}
	name, _ := u.Attributes["name"].(string)
	zones := u.Zones
	if zones == nil {
		zones = []string{}
	}
	return openapi.User{
		PhoneNumber: u.Phone.String(), Name: none(name), Attributes: attributes, ConsentState: openapi.ConsentState(u.Consent),
		Suppressed: each(u.Suppressed, func(s suppression.Scope) openapi.SuppressionScope { return openapi.SuppressionScope(s) }),
		Region:     none(u.Region), Timezones: zones, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, LastInboundAt: u.LastInboundAt,
	}, nil
}

func showUsers(users []user.User) ([]openapi.User, error) {
	shown := make([]openapi.User, len(users))
	for i, u := range users {
		var err error
		if shown[i], err = showUser(u); err != nil {
			return nil, err
		}
	}
	return shown, nil
}
