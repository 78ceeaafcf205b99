package supervisor

import (
	"sync"
	"time"
)

// Board holds how every part is, and wakes whoever follows it.
type Board struct {
	mu      sync.Mutex
	started time.Time
	order   []string
	parts   map[string]Status
	changed chan struct{} // closed and replaced at every change
}

func newBoard() *Board {
	return &Board{started: time.Now(), parts: map[string]Status{}, changed: make(chan struct{})}
}

func (b *Board) set(part, state, detail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.parts[part]; !known {
		b.order = append(b.order, part)
	}
	b.parts[part] = Status{part, state, detail, time.Since(b.started)}
	close(b.changed)
	b.changed = make(chan struct{})
}

// snapshot is every part's status in the order of the parts, and a channel that closes at the next change.
func (b *Board) snapshot() ([]Status, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Status, 0, len(b.order))
	for _, part := range b.order {
		all = append(all, b.parts[part])
	}
	return all, b.changed
}

// unfinished are the parts that have not ended.
func (b *Board) unfinished() []string {
	all, _ := b.snapshot()
	var names []string
	for _, status := range all {
		if status.State != Stopped && status.State != Failed {
			names = append(names, status.Part)
		}
	}
	return names
}

// Settled tells whether nothing is on its way any more, and which parts failed.
func Settled(all []Status) (settled bool, failed []Status) {
	for _, status := range all {
		switch status.State {
		case Waiting, Starting:
			return false, nil
		case Failed, Stopped:
			failed = append(failed, status)
		}
	}
	return len(all) > 0, failed
}
