package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"github.com/event-stream-engine/ese/devstack/measure"
)

// counts are open workflows.
type counts struct{ all, recipients int64 }

func (c *counts) atMost(now counts) {
	c.all, c.recipients = max(c.all, now.all), max(c.recipients, now.recipients)
}

// count asks Temporal for the open workflows.
func (c *campaign) count(ctx context.Context) (now counts, err error) {
	for query, into := range map[string]*int64{
		"ExecutionStatus = 'Running'":                                &now.all,
		"ExecutionStatus = 'Running' AND WorkflowType = 'Recipient'": &now.recipients,
	} {
		answer, err := c.temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		if err != nil {
			return counts{}, err
		}
		*into = answer.GetCount()
	}
	return now, nil
}

// watch reads the campaign's progress once a second and counts open workflows every five, until stop is called.
func (c *campaign) watch(ctx context.Context, id int) (stop func() (measure.Latencies, counts, error)) {
	ctx, cancel := context.WithCancel(ctx)
	var took measure.Latencies
	var open counts
	var g errgroup.Group
	every := func(pause time.Duration, look func() error) {
		g.Go(func() error {
			err := measure.Until(ctx, pause, func() (bool, error) { return false, look() })
			if ctx.Err() != nil {
				return nil //nolint:nilerr // told to stop, in the middle of a look or not
			}
			return err
		})
	}
	every(time.Second, func() error {
		began := time.Now()
		err := measure.Call(ctx, http.MethodGet, c.URL()+fmt.Sprintf(progressPath, id), nil, nil)
		if err == nil {
			took = append(took, time.Since(began))
		}
		return err
	})
	every(5*time.Second, func() error {
		now, err := c.count(ctx)
		open.atMost(now)
		return err
	})
	return func() (measure.Latencies, counts, error) {
		cancel()
		err := g.Wait()
		return took, open, err
	}
}
