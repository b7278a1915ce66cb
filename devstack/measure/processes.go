package measure

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"github.com/event-stream-engine/ese/devstack/stack"
)

// Usage is what a role's processes use.
type Usage struct {
	CPU    time.Duration // since they were started, of children that have ended as well
	Memory uint64        // resident now, in bytes; what processes share is counted once
	Peak   uint64        // the most that was resident, in bytes; of a role that is one process exact, else as Memory
}

// Usage reads what each role uses. Where the system has no /proc (other than Linux) nothing is known, and nothing is told.
func (s *Stack) Usage() map[stack.Role]Usage {
	usage := map[stack.Role]Usage{}
	all, err := procfs.AllProcs()
	if err != nil {
		return usage
	}
	roleOf := map[int]stack.Role{}
	for _, role := range s.Roles() {
		roleOf[s.PID(role)] = role
	}
	delete(roleOf, 0) // roles that are down
	type memory struct{ anon, file, shared, peak, processes uint64 }
	memories := map[stack.Role]memory{}
	for _, p := range all {
		stat, err := p.Stat()
		if err != nil {
			continue // it has just ended
		}
		role, ok := roleOf[p.PID]
		if !ok {
			role, ok = roleOf[stat.PPID]
		}
		status, err := p.NewStatus()
		if !ok || err != nil {
			continue
		}
		const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs
		u := usage[role]
		u.CPU += tick * time.Duration(int(stat.UTime+stat.STime)+stat.CUTime+stat.CSTime)
		usage[role] = u
		m := memories[role]
		m.anon += status.RssAnon
		m.file = max(m.file, status.RssFile)      // PostgreSQL's processes are one program
		m.shared = max(m.shared, status.RssShmem) // and have one pool of buffers
		m.peak = max(m.peak, status.VmHWM)
		m.processes++
		memories[role] = m
	}
	for role, m := range memories {
		u := usage[role]
		u.Memory = m.anon + m.file + m.shared
		u.Peak = u.Memory
		if m.processes == 1 {
			u.Peak = m.peak
		}
		usage[role] = u
	}
	return usage
}

// WatchMemory looks at the memory of each role once a second until stop is called or ctx ends. stop returns the peaks, in
// bytes.
func (s *Stack) WatchMemory(ctx context.Context) (stop func() map[stack.Role]uint64) {
	ctx, cancel := context.WithCancel(ctx)
	peaks := map[stack.Role]uint64{}
	look := func() {
		for role, u := range s.Usage() {
			peaks[role] = max(peaks[role], u.Peak)
		}
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			look()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() map[stack.Role]uint64 {
		cancel()
		watching.Wait()
		look()
		return peaks
	}
}
