package twilio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	contentapi "github.com/twilio/twilio-go/rest/content/v1"

	"github.com/event-stream-engine/ese/internal/fault"
	"github.com/event-stream-engine/ese/internal/render"
)

// The Content API is a host of its own, and is listed in parts.
const (
	contentHost     = "content.twilio.com"
	contentPageSize = 500
	contentMaxPages = 20
)

var contentPattern = regexp.MustCompile(`^HX[0-9a-fA-F]{32}$`)

// content is twilio-go's typed Content API for the calls made under ctx.
func (c *Client) content(ctx context.Context) *contentapi.ApiService {
	return contentapi.NewApiServiceWithClient(&session{client: c, ctx: ctx, base: c.contentBase})
}

// CreateContent makes a text at Twilio and returns its SID. Twilio makes another one each time it is asked. A text that
// Twilio refuses is a fault.Invalid; every other failure an *Error.
func (c *Client) CreateContent(ctx context.Context, s render.Submission) (sid string, err error) {
	params := &contentapi.CreateContentParams{}
	params.SetContentCreateRequest(contentapi.ContentCreateRequest{
		FriendlyName: s.Name, Language: s.Locale, Variables: s.Samples,
		Types: contentapi.Types{TwilioText: &contentapi.TwilioText{Body: s.Body}},
	})
	created, err := c.content(ctx).CreateContent(params)
	if err != nil {
		return "", contentFault(err)
	}
	if sid = value(created.Sid); !contentPattern.MatchString(sid) {
		return "", errors.New("content at Twilio: the answer names no content")
	}
	return sid, nil
}

// SubmitContent asks WhatsApp to approve a content. Faults are those of CreateContent, and fault.NotFound.
func (c *Client) SubmitContent(ctx context.Context, sid, name string, category render.Category) error {
	if !contentPattern.MatchString(sid) {
		return fault.New(fault.NotFound, "not a content SID")
	}
	params := &contentapi.CreateApprovalCreateParams{}
	params.SetContentApprovalRequest(contentapi.ContentApprovalRequest{Name: name, Category: strings.ToUpper(string(category))})
	_, err := c.content(ctx).CreateApprovalCreate(sid, params)
	return contentFault(err)
}

// Content reads a content and where its approval stands. One that Twilio does not know is a fault.NotFound.
func (c *Client) Content(ctx context.Context, sid string) (render.Content, error) {
	if !contentPattern.MatchString(sid) {
		return render.Content{}, fault.New(fault.NotFound, "not a content SID")
	}
	found, err := c.content(ctx).FetchContent(sid)
	if err != nil {
		return render.Content{}, contentFault(err)
	}
	approval, err := c.content(ctx).FetchApprovalFetch(sid)
	if err != nil {
		return render.Content{}, contentFault(err)
	}
	return toContent(contentapi.ContentV1ContentAndApprovals{
		Sid: found.Sid, FriendlyName: found.FriendlyName, Language: found.Language, Variables: found.Variables, Types: found.Types,
		ApprovalRequests: approval.Whatsapp,
	}, time.Now()), nil
}

// Contents lists every content of the account with its approval. It fails rather than return a part of them.
func (c *Client) Contents(ctx context.Context) ([]render.Content, error) {
	params := &contentapi.ListContentAndApprovalsParams{}
	params.SetPageSize(contentPageSize)
	api, now := c.content(ctx), time.Now()
	var all []render.Content
	var token, number string
	for range contentMaxPages {
		page, err := api.PageContentAndApprovals(params, token, number)
		if err != nil {
			return nil, contentFault(err)
		}
		for _, found := range page.Contents {
			all = append(all, toContent(found, now))
		}
		next := value(page.Meta.NextPageUrl)
		if next == "" {
			return all, nil
		}
		u, err := url.Parse(next)
		if err != nil {
			return nil, errors.New("contents at Twilio: unreadable address of the next page")
		}
		token, number = u.Query().Get("PageToken"), u.Query().Get("Page")
	}
	return nil, fmt.Errorf("contents at Twilio: more than %d", contentMaxPages*contentPageSize)
}

// DeleteContent deletes a content; one that is gone already is no fault.
func (c *Client) DeleteContent(ctx context.Context, sid string) error {
	if !contentPattern.MatchString(sid) {
		return nil
	}
	if err := contentFault(c.content(ctx).DeleteContent(sid)); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

func contentFault(err error) error {
	e, ok := errors.AsType[*Error](err)
	switch {
	case err == nil:
		return nil
	case ok && e.HTTPStatus == http.StatusNotFound:
		return fault.New(fault.NotFound, "Twilio does not know this content")
	case ok && (e.HTTPStatus == http.StatusBadRequest || e.HTTPStatus == http.StatusUnprocessableEntity || e.HTTPStatus == http.StatusConflict):
		return fault.New(fault.Invalid, "%s", e.Error())
	default:
		return fmt.Errorf("content at Twilio: %w", err)
	}
}

func toContent(found contentapi.ContentV1ContentAndApprovals, now time.Time) render.Content {
	c := render.Content{
		SID: value(found.Sid), Name: value(found.FriendlyName), Locale: value(found.Language), Variables: texts(value(found.Variables)), SyncedAt: now,
	}
	types := value(found.Types)
	if names := slices.Sorted(maps.Keys(types)); len(names) > 0 {
		c.Type = names[0]
		fields, _ := types[c.Type].(map[string]any)
		c.Body, _ = fields["body"].(string)
	}
	approval := texts(value(found.ApprovalRequests))
	c.Category, c.Approval, c.Reason = approval["category"], render.ParseApproval(approval["status"]), approval["rejection_reason"]
	return c
}

// texts keeps what is text, and numbers as they are written.
func texts(in map[string]any) map[string]string {
	out := make(map[string]string, len(in))
	for name, v := range in {
		switch v := v.(type) {
		case string:
			out[name] = v
		case json.Number, float64:
			out[name] = fmt.Sprint(v)
		}
	}
	return out
}
