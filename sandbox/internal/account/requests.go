package account

import (
	"sync"
	"time"
)

// requestsKept is how many requests the log holds before it forgets the oldest.
const requestsKept = 100_000

// Request is one request to an emulated service, as tests read it back.
type Request struct {
	Sequence  int       `json:"sequence"` // 1 for the first, without gaps
	At        time.Time `json:"at"`       // the machine's time, not the account's
	Service   string    `json:"service"`  // digitalocean, token, registry, registry-old, hub, github
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Query     string    `json:"query,omitempty"`
	Status    int       `json:"status"`
	Principal string    `json:"principal,omitempty"` // the token's name; empty: nobody
	Body      string    `json:"body,omitempty"`      // of writes to the APIs; never an image's bytes
	Note      string    `json:"note,omitempty"`      // "unknown route", the scopes that were granted, …
}

// requestLog keeps requests in the order in which they were answered.
type requestLog struct {
	mu   sync.Mutex
	next int // sequence number of the next one, counted from 1 after the first
	all  []Request
}

// clear forgets all requests; numbers go on, so that a reader's position stays right.
func (l *requestLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = nil
}

// Record adds a request to the log and gives it its number and its time.
func (a *Account) Record(r Request) {
	l := &a.requests
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	r.Sequence, r.At = l.next, time.Now().UTC()
	l.all = append(l.all, r)
	if len(l.all) > requestsKept {
		l.all = append([]Request(nil), l.all[requestsKept/10:]...)
	}
}

// Requests gives those with a greater number than after, and the number of the last one so far.
func (a *Account) Requests(after int) (requests []Request, last int) {
	l := &a.requests
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range l.all {
		if r.Sequence > after {
			return append(requests, l.all[i:]...), l.next
		}
	}
	return nil, l.next
}
