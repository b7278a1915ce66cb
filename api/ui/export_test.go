package ui

import "time"

// SetBeat has live pages give signs of life, and their visitors be judged anew, more often than in use.
func (u *UI) SetBeat(every time.Duration) { u.beat = every }
