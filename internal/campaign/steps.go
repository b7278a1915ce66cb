package campaign

import (
	"fmt"
	"slices"
	"time"
)

// Step is one message of a drip sequence.
type Step struct {
	TemplateID int64
	Wait       time.Duration // since the step before was sent, or since the enrolment; whole seconds
}

// ExitOn says what ends somebody's way through the steps before the last one. A STOP does so always.
type ExitOn struct {
	Reply     bool   // the person writes anything
	Read      bool   // the person reads a step
	SegmentID *int64 // the person is in this segment when a step is due; nil: none
}

// Bounds of a sequence.
const (
	MaxSteps = 20
	MaxWait  = 365 * 24 * time.Hour
)

// Drip tells whether the campaign sends step after step to everybody who triggers it.
func (c Campaign) Drip() bool { return len(c.Steps) > 0 }

// checkSteps refuses a sequence that could not be gone through.
func (c Campaign) checkSteps(refuse func(field, format string, args ...any)) {
	exits := c.ExitOn.Reply || c.ExitOn.Read || c.ExitOn.SegmentID != nil
	if !c.Drip() {
		if exits {
			refuse("exit_on", "ends a sequence: leave it out without steps")
		}
		return
	}
	if !c.Trigger.PerPerson() || c.Trigger == OnInvitation {
		refuse("steps", "are taken by whoever triggers the campaign: its trigger must be %s, %s or %s", OnEvent, OnKeyword, OnUserCreated)
	}
	if len(c.Steps) > MaxSteps {
		refuse("steps", "must be at most %d", MaxSteps)
	}
	for i, s := range c.Steps {
		if s.TemplateID <= 0 {
			refuse(fmt.Sprintf("steps[%d].template_id", i), "must name a template")
		}
		if s.Wait < 0 || s.Wait > MaxWait || s.Wait%time.Second != 0 {
			refuse(fmt.Sprintf("steps[%d].wait_seconds", i), "must be from 0 to %d, which is 365 days", int(MaxWait.Seconds()))
		}
	}
	if c.Steps[0].TemplateID != c.TemplateID {
		refuse("template_id", "must be that of the first step, %d", c.Steps[0].TemplateID)
	}
}

// stepParts are the fields of a plan that make a sequence.
var stepParts = []part{
	{"steps", false, func(a, b Campaign) bool { return slices.Equal(a.Steps, b.Steps) }},
	{"exit_on", false, func(a, b Campaign) bool {
		return a.ExitOn.Reply == b.ExitOn.Reply && a.ExitOn.Read == b.ExitOn.Read && equal(a.ExitOn.SegmentID, b.ExitOn.SegmentID)
	}},
}
