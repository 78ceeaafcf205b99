// Package account is the state of the emulated DigitalOcean account: what exists in it, who may do what, and what has
// been asked of it. Every part of the sandbox shares one Account.
//
// The state lives in memory and is written to the state folder after each change, so that a restarted sandbox goes on
// where it was. Time is the account's own: tests can move its clock forward, and everything here that expires or
// becomes active goes by that clock.
package account

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Account is one DigitalOcean account. All methods may be called from several goroutines at once,
// but not from inside the functions that they are given: those run while the account is locked.
type Account struct {
	settings settings.Settings

	mu       sync.Mutex
	state    State
	calls    map[string][]time.Time // token value to the times of its requests in the last hour
	watchers map[chan []Balancer]struct{}
	timer    *time.Timer // fires when the next load balancer becomes active

	requests requestLog
}

// State is everything that exists in the account. It is what the snapshot file holds.
type State struct {
	ClockOffset        time.Duration                   `json:"clock_offset"`
	Account            godo.Account                    `json:"account"`
	Regions            []godo.Region                   `json:"regions"`
	Sizes              []godo.Size                     `json:"sizes"`
	Options            godo.KubernetesOptions          `json:"options"`
	Clusters           []godo.KubernetesCluster        `json:"clusters"`
	Registries         []godo.Registry                 `json:"registries"`
	Subscription       godo.RegistrySubscription       `json:"subscription"`
	Tiers              []godo.RegistrySubscriptionTier `json:"tiers"`
	Droplets           []godo.Droplet                  `json:"droplets"`
	Volumes            []godo.Volume                   `json:"volumes"`
	VPCs               []godo.VPC                      `json:"vpcs"`
	Tags               []Tag                           `json:"tags"`
	Firewalls          []godo.Firewall                 `json:"firewalls"`
	Balancers          []Balancer                      `json:"balancers"`
	Tokens             []Token                         `json:"tokens"`
	GarbageCollections []GarbageCollection             `json:"garbage_collections"`
	Switches           Switches                        `json:"switches"`
}

// Open reads the account from the state folder, or seeds a new one if there is none.
func Open(s settings.Settings) (*Account, error) {
	a := &Account{
		settings: s,
		calls:    map[string][]time.Time{},
		watchers: map[chan []Balancer]struct{}{},
	}
	data, err := os.ReadFile(a.snapshotPath())
	if errors.Is(err, os.ErrNotExist) {
		return a, a.Reset()
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &a.state); err != nil {
		return nil, fmt.Errorf("%s is not an account's state, remove it and start again: %w", a.snapshotPath(), err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settleBalancers()
	return a, nil
}

// Settings is the sandbox that the account belongs to.
func (a *Account) Settings() settings.Settings { return a.settings }

// Reset puts the account back to its seed: the clock, the tokens and the request log too. Only the credentials of the
// registry integration stay, because the cluster holds them.
func (a *Account) Reset() error {
	a.requests.clear()
	a.mu.Lock()
	defer a.mu.Unlock()
	kept := slices.DeleteFunc(a.state.Tokens, func(t Token) bool { return !strings.HasPrefix(t.Name, integrationPrefix) })
	a.state = seed(a.settings, time.Now().UTC())
	a.state.Tokens = append(a.state.Tokens, kept...)
	clear(a.calls)
	a.publishBalancers()
	return a.save()
}

// View lets read look at the state. It must neither change it nor keep a reference to it: use Clone to keep a part.
func (a *Account) View(read func(*State)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settleBalancers()
	read(&a.state)
}

// Change lets change alter the state, and keeps the result on disk if it gives no error. A change that fails must
// leave the state as it was.
func (a *Account) Change(change func(*State) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settleBalancers()
	if err := change(&a.state); err != nil {
		return err
	}
	return a.save()
}

// Clone is a deep copy of a part of the state.
func Clone[T any](value T) T {
	var copied T
	data, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(data, &copied)
	}
	if err != nil {
		panic(fmt.Sprintf("the state cannot be copied: %v", err)) // the state is plain data: a mistake in its types
	}
	return copied
}

// NewID makes a random UUID, as DigitalOcean's objects carry.
func NewID() string {
	b := randomBytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562 section 5.4
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newTokenValue makes a personal access token's text.
func newTokenValue() string { return "dop_v1_" + hex.EncodeToString(randomBytes(32)) }

// randomBytes gives n unpredictable bytes.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return b
}

// snapshotPath is the file that outlives the process.
func (a *Account) snapshotPath() string { return a.settings.Path("account.json") }

// save writes the snapshot. Readers of the file see the old state or the new one, never half of it.
func (a *Account) save() error {
	data, err := json.MarshalIndent(a.state, "", " ")
	if err != nil {
		return err
	}
	path := a.snapshotPath()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
