package throttle

import "time"

// Account is what bounds all campaigns together.
type Account struct {
	PerSecond    int           // messages a second over all senders, from 1 to 2000
	PairInterval time.Duration // whole seconds between two messages to one person, up to ten minutes; 0: none
	// What one person gets of bulk messages within 24 hours and within seven days, of all campaigns and of those to one
	// subscription topic: from 1 to 1000, nil for any number.
	PersonDay, PersonWeek, PersonTopicDay, PersonTopicWeek *int
}
