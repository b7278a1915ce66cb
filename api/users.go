package api

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/phone"
	"github.com/event-stream-engine/ese/internal/segment"
	"github.com/event-stream-engine/ese/internal/suppression"
	"github.com/event-stream-engine/ese/internal/user"
)

type userStore interface {
	CreateUser(ctx context.Context, number phone.Number, attributes user.Attributes, change user.Change, actor string, now time.Time) (user.User, error)
	UserByPhone(ctx context.Context, number phone.Number) (user.User, error)
	Users(ctx context.Context, f segment.Filter, after *int64, atMost int, now time.Time) ([]user.User, error)
	// UserTotal is exact up to exactUpTo.
	UserTotal(ctx context.Context, f segment.Filter, exactUpTo int64, now time.Time) (total int64, exact bool, err error)
	// UpdateUser leaves attributes alone when they are nil.
	UpdateUser(ctx context.Context, number phone.Number, attributes user.Attributes, change user.Change, actor string, now time.Time) (user.User, error)
}

func (s *server) ListUsers(ctx context.Context, r openapi.ListUsersRequestObject) (openapi.ListUsersResponseObject, error) {
	p := r.Params
	filter, err := userFilter(p.ConsentState, p.Q, p.Name, p.SegmentID, p.TopicID, p.Region, p.CreatedFrom, p.CreatedBefore)
	if err != nil {
		return nil, err
	}
	page, err := newPage(p.Limit, p.Cursor, filter)
	if err != nil {
		return nil, err
	}
	after, err := page.afterID()
	if err != nil {
		return nil, err
	}
	users, err := s.Store.Users(ctx, filter, after, page.fetch(), s.Now())
	if err != nil {
		return nil, err
	}
	total, _, err := s.Store.UserTotal(ctx, filter, math.MaxInt32, s.Now())
	if err != nil {
		return nil, err
	}
	users, next := cut(page, users, func(u user.User) int64 { return u.ID })
	shown, err := showUsers(users)
	return openapi.ListUsers200JSONResponse{Users: shown, NextCursor: next, Total: total}, err
}

// userFilter reads the conditions of a list of users.
func userFilter(
	consent *openapi.UserConsent, digits *openapi.UserDigits, name *openapi.UserName, segmentID *openapi.UserSegment, topicID *openapi.UserTopic,
	region *openapi.UserRegion, from *openapi.UserCreatedFrom, before *openapi.UserCreatedBefore,
) (segment.Filter, error) {
	f := segment.Filter{
		Consent: string(value(consent)), Prefix: numberPrefix(digits), Name: value(name), SegmentID: value(segmentID), TopicID: value(topicID),
		Region: value(region), CreatedFrom: value(from), CreatedBefore: value(before),
	}
	if strings.ContainsRune(f.Name, 0) {
		return f, fault.Refuse("name", "must not hold a NUL character")
	}
	if f.Region != "" && !phone.KnownRegion(f.Region) {
		return f, fault.Refuse("region", "is no country with telephone numbers; ISO 3166-1 alpha-2 is meant, such as LK")
	}
	return f, nil
}

// numberPrefix is how the numbers begin that digits ask for; "" for any.
func numberPrefix(digits *string) string {
	if digits == nil {
		return ""
	}
	return "+" + strings.TrimLeft(*digits, "+ ")
}

func (s *server) ExportUsersCsv(ctx context.Context, r openapi.ExportUsersCsvRequestObject) (openapi.ExportUsersCsvResponseObject, error) {
	p := r.Params
	filter, err := userFilter(p.ConsentState, p.Q, p.Name, p.SegmentID, p.TopicID, p.Region, p.CreatedFrom, p.CreatedBefore)
	if err != nil {
		return nil, err
	}
	x := &download{}
	x.writePlainCSV(userColumns...)
	x.page = s.userPages(ctx, filter, func(u openapi.User) error {
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
	p := r.Params
	filter, err := userFilter(p.ConsentState, p.Q, p.Name, p.SegmentID, p.TopicID, p.Region, p.CreatedFrom, p.CreatedBefore)
	if err != nil {
		return nil, err
	}
	x := &download{}
	lines := json.NewEncoder(&x.text)
	x.page = s.userPages(ctx, filter, func(u openapi.User) error { return lines.Encode(u) })
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
func (s *server) userPages(ctx context.Context, filter segment.Filter, write func(openapi.User) error) func() (last bool, err error) {
	var after *int64
	now := s.Now() // of the segment's conditions, for all pages
	return func() (bool, error) {
		users, err := s.Store.Users(ctx, filter, after, userPage, now)
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
