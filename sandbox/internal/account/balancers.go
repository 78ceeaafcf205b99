package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/digitalocean/godo"
)

// The states of a load balancer.
const (
	BalancerNew     = "new"
	BalancerActive  = "active"
	BalancerErrored = "errored"
)

// Balancer is a load balancer and what the sandbox alone knows of it.
type Balancer struct {
	godo.LoadBalancer
	Index    int       `json:"sandbox_index"`     // gives its address: settings.BalancerAddress(Index)
	ActiveAt time.Time `json:"sandbox_active_at"` // when it stops being new
	Fails    bool      `json:"sandbox_fails"`     // and becomes errored then
}

// Errors of the methods on load balancers.
var (
	ErrBalancerUnknown = errors.New("no such load balancer")
	ErrBalancerQuota   = errors.New("the account's limit of load balancers is reached")
)

// Balancers lists all load balancers, oldest first.
func (a *Account) Balancers() []Balancer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settleBalancers()
	return Clone(a.state.Balancers)
}

// WatchBalancers gives the load balancers now and again after every change, until ctx ends; then the channel is closed.
// A slow reader misses what lies between, never the last state.
func (a *Account) WatchBalancers(ctx context.Context) <-chan []Balancer {
	watcher := make(chan []Balancer, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settleBalancers()
	a.watchers[watcher] = struct{}{}
	watcher <- Clone(a.state.Balancers)
	context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.watchers, watcher)
		close(watcher)
	})
	return watcher
}

// CreateBalancer adds a load balancer. It is new, and without an address, until the switch's delay is over.
func (a *Account) CreateBalancer(b godo.LoadBalancer) (Balancer, error) {
	var created Balancer
	err := a.Change(func(s *State) error {
		if len(s.Balancers) >= s.Switches.BalancerQuota {
			return fmt.Errorf("%w: %d", ErrBalancerQuota, s.Switches.BalancerQuota)
		}
		b.ID, b.Status, b.IP = NewID(), BalancerNew, ""
		b.Created = a.now().Format(time.RFC3339)
		created = Balancer{
			LoadBalancer: b,
			Index:        freeIndex(s.Balancers),
			ActiveAt:     a.now().Add(s.Switches.BalancerDelay.Duration()),
			Fails:        s.Switches.BalancerErrored,
		}
		s.Balancers = append(s.Balancers, created)
		a.publishBalancers()
		a.settleBalancers() // sets the timer, or makes it active at once if there is no delay
		created = s.Balancers[len(s.Balancers)-1]
		return nil
	})
	return Clone(created), err
}

// UpdateBalancer lets change alter the description of a load balancer. Its id, its state, its address and the time of
// its creation stay. Like every callback here, change must not call the account.
func (a *Account) UpdateBalancer(id string, change func(*godo.LoadBalancer)) (Balancer, error) {
	var updated Balancer
	err := a.Change(func(s *State) error {
		at := indexOfBalancer(s.Balancers, id)
		if at < 0 {
			return ErrBalancerUnknown
		}
		before := s.Balancers[at].LoadBalancer
		after := Clone(before)
		change(&after)
		after.ID, after.Status, after.IP, after.Created = before.ID, before.Status, before.IP, before.Created
		s.Balancers[at].LoadBalancer = after
		updated = s.Balancers[at]
		a.publishBalancers()
		return nil
	})
	return Clone(updated), err
}

// DeleteBalancer removes a load balancer; its address is free for the next one.
func (a *Account) DeleteBalancer(id string) error {
	return a.Change(func(s *State) error {
		at := indexOfBalancer(s.Balancers, id)
		if at < 0 {
			return ErrBalancerUnknown
		}
		s.Balancers = slices.Delete(s.Balancers, at, at+1)
		a.publishBalancers()
		return nil
	})
}

// indexOfBalancer is where the load balancer with this id is, or -1.
func indexOfBalancer(all []Balancer, id string) int {
	return slices.IndexFunc(all, func(b Balancer) bool { return b.ID == id })
}

// freeIndex is the lowest index that no load balancer has.
func freeIndex(all []Balancer) int {
	index := 0
	for slices.ContainsFunc(all, func(b Balancer) bool { return b.Index == index }) {
		index++
	}
	return index
}

// settleBalancers makes those active whose time has come, tells the watchers, and sets the timer for the next one. The
// lock is held.
func (a *Account) settleBalancers() {
	changed, now, next := false, a.now(), time.Time{}
	for i := range a.state.Balancers {
		b := &a.state.Balancers[i]
		switch {
		case b.Status != BalancerNew:
		case b.ActiveAt.After(now):
			if next.IsZero() || b.ActiveAt.Before(next) {
				next = b.ActiveAt
			}
		case b.Fails:
			b.Status, changed = BalancerErrored, true
		default:
			b.Status, b.IP, changed = BalancerActive, a.settings.BalancerAddress(b.Index), true
		}
	}
	if changed {
		a.publishBalancers()
	}
	a.setTimer(next)
}

// setTimer settles again at a time of the account's clock; the zero time is never. The lock is held.
func (a *Account) setTimer(at time.Time) {
	if a.timer != nil {
		a.timer.Stop()
	}
	if at.IsZero() {
		return
	}
	a.timer = time.AfterFunc(at.Sub(a.now()), func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.settleBalancers()
	})
}

// publishBalancers gives the watchers the present state in place of one that they have not read. The lock is held.
func (a *Account) publishBalancers() {
	for watcher := range a.watchers {
		select {
		case <-watcher:
		default:
		}
		watcher <- Clone(a.state.Balancers)
	}
}
