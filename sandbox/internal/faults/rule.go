package faults

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// The targets that have a proxy in front of them.
const (
	Registry     = "registry"
	RegistryOld  = "registry-old"
	DigitalOcean = "digitalocean"
	GitHub       = "github"
	Kubernetes   = "kubernetes"
)

// Rule is one fault. It hits the requests to its target that match, and everything it says happens to them: first the
// delay, then one of status, hold and the cuts. For Kubernetes, which is encrypted, a request is a connection.
type Rule struct {
	ID     string `json:"id"`               // given by the proxy
	Target string `json:"target"`           // one of the constants above
	Method string `json:"method,omitempty"` // regular expression for the whole method; empty: any
	Path   string `json:"path,omitempty"`   // regular expression for a part of the path; empty: any
	Skip   int    `json:"skip,omitempty"`   // how many matching requests pass before the first that is hit
	Times  int    `json:"times,omitempty"`  // how many are hit; 0: all

	Delay       account.Seconds `json:"delay_seconds,omitempty"`
	Status      int             `json:"status,omitempty"`             // answered instead of the target's answer
	RetryAfter  int             `json:"retry_after,omitempty"`        // seconds, with Status
	Hold        bool            `json:"hold,omitempty"`               // never answered, until the rule is removed
	CutRequest  *int64          `json:"cut_request_after,omitempty"`  // bytes of the request's body that pass before the connection is cut
	CutResponse *int64          `json:"cut_response_after,omitempty"` // the same for the answer's body
	Refuse      account.Seconds `json:"refuse_seconds,omitempty"`     // at once, all connections are cut and new ones refused for so long

	Watch bool `json:"watch,omitempty"` // does nothing but count what the matching requests carry

	Hits         int   `json:"hits"`          // how many requests it has hit
	RequestBytes int64 `json:"request_bytes"` // with Watch: bytes of the matching requests' bodies that came through

	seen         int
	method, path *regexp.Regexp
	removed      chan struct{} // closed when the rule is taken away
}

// Rules are the faults of a sandbox and what its proxies have counted.
type Rules struct {
	mu      sync.Mutex
	next    int
	all     []*Rule
	counts  map[string]map[string]*Count
	refuses map[string]chan time.Duration
}

// NewRules has no fault.
func NewRules() *Rules {
	refuses := map[string]chan time.Duration{}
	for _, target := range Targets() {
		refuses[target] = make(chan time.Duration, 1)
	}
	return &Rules{counts: map[string]map[string]*Count{}, refuses: refuses}
}

// Targets lists what has a proxy.
func Targets() []string { return []string{Registry, RegistryOld, DigitalOcean, GitHub, Kubernetes} }

// check says what is wrong with a rule that somebody wants to add, and prepares it.
func (r *Rule) check() (err error) {
	if !slices.Contains(Targets(), r.Target) {
		return fmt.Errorf("target is %q: one of %v", r.Target, Targets())
	}
	if r.Target == Kubernetes && (r.Method != "" || r.Path != "" || r.Status != 0) {
		return errors.New("kubernetes is encrypted: a rule cannot match method or path there, nor answer a status")
	}
	method := ""
	if r.Method != "" {
		method = "^(?:" + r.Method + ")$"
	}
	if r.method, err = regexp.Compile(method); err != nil {
		return fmt.Errorf("method: %w", err)
	}
	if r.path, err = regexp.Compile(r.Path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if r.Status != 0 && (r.Status < 200 || r.Status > 599) {
		return fmt.Errorf("status is %d: 200 to 599", r.Status)
	}
	if r.Watch {
		return nil
	}
	if r.Delay == 0 && r.Status == 0 && !r.Hold && r.CutRequest == nil && r.CutResponse == nil && r.Refuse == 0 {
		return errors.New("the rule does nothing: give delay_seconds, status, hold, cut_request_after, cut_response_after or refuse_seconds")
	}
	return nil
}

// Add makes a rule work and gives it with its id. A rule that refuses does so at once, and is not kept.
func (rs *Rules) Add(rule Rule) (Rule, error) {
	if err := rule.check(); err != nil {
		return rule, err
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.next++
	rule.ID, rule.Hits, rule.removed = strconv.Itoa(rs.next), 0, make(chan struct{})
	if rule.Refuse > 0 {
		select {
		case rs.refuses[rule.Target] <- rule.Refuse.Duration():
		default: // it is about to refuse already
		}
		return rule, nil
	}
	rs.all = append(rs.all, &rule)
	return rule, nil
}

// Remove takes a rule away and lets go what it holds; it says whether there was one with this id.
func (rs *Rules) Remove(id string) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	at := slices.IndexFunc(rs.all, func(r *Rule) bool { return r.ID == id })
	if at < 0 {
		return false
	}
	close(rs.all[at].removed)
	rs.all = slices.Delete(rs.all, at, at+1)
	return true
}

// Clear takes all rules away and forgets what was counted.
func (rs *Rules) Clear() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, rule := range rs.all {
		close(rule.removed)
	}
	rs.all = nil
	clear(rs.counts)
}

// List gives the rules with their hits.
func (rs *Rules) List() []Rule {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	all := []Rule{}
	for _, rule := range rs.all {
		all = append(all, *rule)
	}
	return all
}

// match finds the first rule that hits a request, and counts the hit. The copy is for this request alone.
func (rs *Rules) match(target, method, path string) *Rule {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, rule := range rs.all {
		if rule.Watch || rule.Target != target || !rule.method.MatchString(method) || !rule.path.MatchString(path) {
			continue
		}
		rule.seen++
		if rule.seen <= rule.Skip || rule.Times > 0 && rule.Hits >= rule.Times {
			continue
		}
		rule.Hits++
		hit := *rule
		return &hit
	}
	return nil
}

// watched counts bytes of a request's body for the rules that watch it.
func (rs *Rules) watched(target, method, path string, bytes int64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, rule := range rs.all {
		if rule.Watch && rule.Target == target && rule.method.MatchString(method) && rule.path.MatchString(path) {
			rule.RequestBytes += bytes
		}
	}
}

// Count is what a proxy has carried of one method; for Kubernetes the method is CONNECT.
type Count struct {
	Requests      int         `json:"requests"`
	RequestBytes  int64       `json:"request_bytes"`  // of bodies, towards the target
	ResponseBytes int64       `json:"response_bytes"` // of bodies, towards the client
	Statuses      map[int]int `json:"statuses"`       // how often each was answered
}

// Counts gives what was carried since the last Clear or ClearCounts, by target and method.
func (rs *Rules) Counts() map[string]map[string]Count {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	copied := map[string]map[string]Count{}
	for target, methods := range rs.counts {
		copied[target] = map[string]Count{}
		for method, count := range methods {
			copied[target][method] = account.Clone(*count)
		}
	}
	return copied
}

// ClearCounts forgets what was carried.
func (rs *Rules) ClearCounts() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	clear(rs.counts)
}

// count changes the count of a method.
func (rs *Rules) count(target, method string, change func(*Count)) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	methods := rs.counts[target]
	if methods == nil {
		methods = map[string]*Count{}
		rs.counts[target] = methods
	}
	if methods[method] == nil {
		methods[method] = &Count{Statuses: map[int]int{}}
	}
	change(methods[method])
}
