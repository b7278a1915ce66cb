package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/event-stream-engine/ese/api/internal/openapi"
	"github.com/event-stream-engine/ese/internal/campaign"
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
	f, err := s.Store.Preflight(ctx, r.ID, samples, s.Now())
	return openapi.PreflightCampaign200JSONResponse(s.forecast(r.ID, f)), err
}

// rehearse answers a dry run.
func (s *server) rehearse(ctx context.Context, id int64) (openapi.TriggerCampaignResponseObject, error) {
	c, err := s.Store.Campaign(ctx, id)
	if err != nil {
		return nil, err
	}
	f, err := s.Store.Preflight(ctx, id, defaultSamples, s.Now())
	if err != nil {
		return nil, err
	}
	forecast := s.forecast(id, f)
	return openapi.TriggerCampaign200JSONResponse{
		CampaignID: id, Status: openapi.CampaignStatus(c.Status), DryRun: true,
		AudienceSize: &forecast.AudienceSize, Verdicts: &forecast.Verdicts, Preflight: &forecast,
	}, nil
}

func (s *server) forecast(id int64, f preflight.Forecast) openapi.Preflight {
	out := openapi.Preflight{
		CampaignID: id, AsOf: f.AsOf, StartsAt: f.StartsAt, AudienceSize: int64(f.Audience), ToSend: int64(f.ToSend),
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
	listed := f.Groups[:min(len(f.Groups), maxGroups)]
	out.GroupsLeftOut = len(f.Groups) - len(listed)
	out.Groups = each(listed, func(g preflight.Group) openapi.PreflightGroup {
		return openapi.PreflightGroup{
			Country: none(g.Region), Zones: g.Zones, Proceed: int64(g.Proceed), Wait: int64(g.Wait), Suppress: int64(g.Suppress),
			FirstSendAt: moment(g.FirstSend), LastSendAt: moment(g.LastSend), FirstSendLocal: none(g.FirstLocal), LastSendLocal: none(g.LastLocal),
		}
	})
	return out
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
