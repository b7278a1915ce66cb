package ui

import "time"

// SetBeat has live pages give signs of life, and their visitors be judged anew, more often than in use.
func (u *UI) SetBeat(every time.Duration) { u.beat = every }

// NeverWaitInVain has every page show all figures, counted for it.
func (u *UI) NeverWaitInVain() { u.patience = patience{wait: time.Minute} }
