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
	consent, prefix := user.ConsentState(value(r.Params.ConsentState)), numberPrefix(r.Params.Q)
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

// numberPrefix is how the numbers begin that digits ask for; "" for any.
func numberPrefix(digits *string) string {
	if digits == nil {
		return ""
	}
	return "+" + strings.TrimLeft(*digits, "+ ")
}

func (s *server) ExportUsersCsv(ctx context.Context, r openapi.ExportUsersCsvRequestObject) (openapi.ExportUsersCsvResponseObject, error) {
	x := &download{}
	x.writePlainCSV(userColumns...)
	x.page = s.userPages(ctx, user.ConsentState(value(r.Params.ConsentState)), numberPrefix(r.Params.Q), func(u openapi.User) error {
		x.writePlainCSV( // a number is one, and nothing else: it keeps its plus
			u.PhoneNumber, string(u.ConsentState), value(u.Region), strings.Join(u.Timezones, " "), timeCell(&u.CreatedAt), timeCell(&u.UpdatedAt),
			timeCell(u.LastInboundAt), harmless(value(u.Name)), string(u.Attributes),
		)
		return nil
	})
	if err := x.more(); err != nil {
		return nil, err
	}
	return openapi.ExportUsersCsv200TextCsvResponse{
		Body: x, Headers: openapi.ExportUsersCsv200ResponseHeaders{ContentDisposition: attachment("users.csv")},
	}, nil
}

var userColumns = []string{
	"phone_number", "consent_state", "region", "timezones", "created_at", "updated_at", "last_inbound_at", "name", "attributes",
}

func (s *server) ExportUsersJsonl(ctx context.Context, r openapi.ExportUsersJsonlRequestObject) (openapi.ExportUsersJsonlResponseObject, error) {
	x := &download{}
	lines := json.NewEncoder(&x.text)
	x.page = s.userPages(ctx, user.ConsentState(value(r.Params.ConsentState)), numberPrefix(r.Params.Q), func(u openapi.User) error { return lines.Encode(u) })
	if err := x.more(); err != nil {
		return nil, err
	}
	return openapi.ExportUsersJsonl200ApplicationXNdjsonResponse{
		Body: x, Headers: openapi.ExportUsersJsonl200ResponseHeaders{ContentDisposition: attachment("users.jsonl")},
	}, nil
}

// userPage is how many users an export holds in memory: each may have 64 KiB of attributes.
const userPage = 500

// userPages gives users to write, a page at each call, newest first.
func (s *server) userPages(ctx context.Context, consent user.ConsentState, prefix string, write func(openapi.User) error) func() (last bool, err error) {
	var after *int64
	return func() (bool, error) {
		users, err := s.Store.Users(ctx, consent, prefix, after, userPage)
		if err != nil {
			return false, err
		}
		for _, u := range users {
			shown, err := showUser(u)
			if err == nil {
				err = write(shown)
			}
			if err != nil {
				return false, err
			}
			after = &u.ID
		}
		return len(users) < userPage, nil
	}
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
	change := user.Change{State: user.ConsentState(value(r.Body.ConsentState)), Source: user.SourceAPI, CallerIP: callerIP(ctx), Invite: value(r.Body.Invite)}
	if change.Invite && change.State != "" && change.State != user.Pending {
		return nil, fault.Refuse("invite", "asks somebody PENDING for their consent: leave it out, or consent_state")
	}
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
