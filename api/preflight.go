package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/campaign"
	"github.com/event-stream-engine/ese/internal/compliance"
	"github.com/event-stream-engine/ese/internal/preflight"
	"github.com/event-stream-engine/ese/internal/price"
)

const (
	// defaultSamples is how many messages a forecast shows when it is not told.
	defaultSamples = 3
	// maxGroups is how many groups a forecast lists.
	maxGroups = 1000
)

func (s *server) PreflightCampaign(ctx context.Context, r openapi.PreflightCampaignRequestObject) (openapi.PreflightCampaignResponseObject, error) {
	samples := defaultSamples
	if r.Body != nil {
		samples = or(r.Body.Samples, defaultSamples)
	}
	c, f, err := s.preflight(ctx, r.ID, samples)
	return openapi.PreflightCampaign200JSONResponse(s.forecast(c, f)), err
}

func (s *server) preflight(ctx context.Context, id int64, samples int) (c campaign.Overview, f preflight.Forecast, err error) {
	if c, err = s.Store.Campaign(ctx, id); err != nil {
		return c, f, err
	}
	f, err = s.Store.Preflight(ctx, id, samples, s.Now())
	return c, f, err
}

// rehearse answers a dry run.
func (s *server) rehearse(ctx context.Context, id int64) (openapi.TriggerCampaignResponseObject, error) {
	c, f, err := s.preflight(ctx, id, defaultSamples)
	if err != nil {
		return nil, err
	}
	forecast := s.forecast(c, f)
	return openapi.TriggerCampaign200JSONResponse{
		CampaignID: id, Status: openapi.CampaignStatus(c.Status), DryRun: true,
		AudienceSize: &forecast.AudienceSize, Verdicts: &forecast.Verdicts, Preflight: &forecast,
	}, nil
}

func (s *server) forecast(c campaign.Overview, f preflight.Forecast) openapi.Preflight {
	out := openapi.Preflight{
		CampaignID: c.ID, AsOf: f.AsOf, StartsAt: f.StartsAt, AudienceSize: int64(f.Audience), ToSend: int64(f.ToSend),
		Verdicts: each(f.Verdicts, func(v campaign.VerdictCount) openapi.VerdictCount {
			return openapi.VerdictCount{Verdict: openapi.Verdict(v.Action), Reason: none(v.Reason), Count: int64(v.Count)}
		}),
		Rate:        openapi.PreflightRate{InForce: f.RatePerSecond, Campaign: f.CampaignRate, Sender: f.SenderRate, Account: f.AccountRate},
		FirstSendAt: moment(f.FirstSend), LastSendAt: moment(f.LastSend), FirstSendLocal: none(f.FirstLocal), LastSendLocal: none(f.LastLocal),
		SendingSeconds: f.Sending.Seconds(),
		Cost:           cost(s.Prices, f),
		Samples: each(f.Samples, func(m preflight.Sample) openapi.PreflightSample {
			return openapi.PreflightSample{
				MaskedPhone: m.Phone, Country: none(m.Region), Verdict: openapi.Verdict(m.Action), Reason: none(string(m.Reason)), Body: m.Body,
			}
		}),
	}
	if c.Trigger.PerPerson() {
		out.Note = ptr("the campaign has no audience: it is sent to " + c.Trigger.Describe(c.TriggerName) + ", one person at a time")
	}
	listed := f.Groups[:min(len(f.Groups), maxGroups)]
	out.GroupsLeftOut = len(f.Groups) - len(listed)
	out.Groups = each(listed, func(g preflight.Group) openapi.PreflightGroup {
		return openapi.PreflightGroup{
			Country: none(g.Region), Zones: g.Zones, Law: law(g.Law), Proceed: int64(g.Proceed), Wait: int64(g.Wait), Suppress: int64(g.Suppress),
			FirstSendAt: moment(g.FirstSend), LastSendAt: moment(g.LastSend), FirstSendLocal: none(g.FirstLocal), LastSendLocal: none(g.LastLocal),
		}
	})
	return out
}

// law is nil where none holds.
func law(w compliance.Week) *string {
	if w.IsZero() {
		return nil
	}
	return ptr(w.String())
}

// cost estimates what the messages of a forecast cost, and says what it does not know.
func cost(prices price.Table, f preflight.Forecast) openapi.PreflightCost {
	e := prices.Estimate(f.Channel, f.Units)
	out := openapi.PreflightCost{
		Currency: none(e.Currency), Amount: none(e.Amount), Priced: int64(e.Priced), Unpriced: int64(e.Unpriced), UnpricedCountries: []string{},
	}
	for _, country := range e.Unknown {
		if country == "" {
			country = "unknown"
		}
		out.UnpricedCountries = append(out.UnpricedCountries, country)
	}
	switch {
	case prices.IsZero():
		out.Note = ptr("the cost is unknown: no price table is configured (PRICE_TABLE)")
	case e.Unpriced > 0:
		out.Note = ptr(fmt.Sprintf("the table has no price on %s for %s", f.Channel, strings.Join(out.UnpricedCountries, ", ")))
	}
	return out
}

// moment is nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
