package account

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// open seeds an account in a folder.
func open(t *testing.T, folder string) *Account {
	t.Helper()
	a, err := Open(settings.Settings{Number: 1, State: folder})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// advance moves the clock.
func advance(t *testing.T, a *Account, by time.Duration) {
	t.Helper()
	if err := a.Advance(by); err != nil {
		t.Fatal(err)
	}
}

// create adds a load balancer.
func create(t *testing.T, a *Account, name string) Balancer {
	t.Helper()
	made, err := a.CreateBalancer(godo.LoadBalancer{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// TestSnapshot: what another process opens is what this one left, the clock and the tokens too.
func TestSnapshot(t *testing.T) {
	folder := t.TempDir()
	first := open(t, folder)
	token, err := first.MintAPIToken("ci", []string{"registry:read"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	made := create(t, first, "web")
	advance(t, first, 30*time.Minute)
	second := open(t, folder)
	if found, err := second.Authenticate(token.Value); err != nil || !found.Has("registry:read") || found.Has("registry:create") {
		t.Errorf("the token: %+v, %v", found, err)
	}
	if all := second.Balancers(); len(all) != 1 || all[0].ID != made.ID || all[0].Status != BalancerActive {
		t.Errorf("the load balancers: %+v", all)
	}
	if ahead := second.Now().Sub(time.Now()); ahead < 29*time.Minute {
		t.Errorf("the clock is only %s ahead", ahead)
	}
	if err := os.WriteFile(first.snapshotPath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(first.settings); err == nil {
		t.Error("a broken snapshot was opened")
	}
}

// TestTokenEnds: by time, by its value and by its name, each with its own reason.
func TestTokenEnds(t *testing.T) {
	a := open(t, t.TempDir())
	short, _ := a.MintClusterToken(settings.ClusterID, time.Minute)
	byValue, _ := a.MintRegistryToken(settings.RegistryName, true, 0)
	byName, _ := a.MintAPIToken("named", nil, 0)
	for _, token := range []Token{short, byValue, byName} {
		if _, err := a.Authenticate(token.Value); err != nil {
			t.Errorf("fresh: %v", err)
		}
	}
	advance(t, a, time.Minute)
	if err := errors.Join(a.Revoke(byValue.Value), a.Revoke("named")); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]error{
		short.Value: ErrTokenExpired, byValue.Value: ErrTokenRevoked, byName.Value: ErrTokenRevoked, "": ErrTokenUnknown, "x": ErrTokenUnknown,
	} {
		if _, err := a.Authenticate(token); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", token, err, want)
		}
	}
	if err := a.Revoke("nobody"); !errors.Is(err, ErrTokenUnknown) {
		t.Errorf("revoke nobody: %v", err)
	}
}

// TestPullCredential: the same one each time, until it is revoked.
func TestPullCredential(t *testing.T) {
	a := open(t, t.TempDir())
	_, first, err := a.PullCredential(settings.RegistryName)
	if err != nil {
		t.Fatal(err)
	}
	if _, again, _ := a.PullCredential(settings.RegistryName); again != first {
		t.Error("another one at the second call")
	}
	if err := a.Revoke("integration-" + settings.RegistryName); err != nil {
		t.Fatal(err)
	}
	_, next, _ := a.PullCredential(settings.RegistryName)
	if token, err := a.Authenticate(next); next == first || err != nil || token.ReadWrite {
		t.Errorf("after it was revoked: %+v, %v", token, err)
	}
}

// TestBalancerAddresses: the lowest free one is given, and only while it is active.
func TestBalancerAddresses(t *testing.T) {
	a := open(t, t.TempDir())
	one := create(t, a, "one")
	create(t, a, "two")
	if one.IP != "" || one.Status != BalancerNew {
		t.Errorf("new: %+v", one)
	}
	advance(t, a, time.Hour)
	if err := a.DeleteBalancer(one.ID); err != nil {
		t.Fatal(err)
	}
	create(t, a, "three")
	advance(t, a, time.Hour)
	var addresses []string
	for _, b := range a.Balancers() {
		addresses = append(addresses, b.Name+" "+b.IP)
	}
	if len(addresses) != 2 || addresses[0] != "two 127.77.1.11" || addresses[1] != "three 127.77.1.10" {
		t.Errorf("%v", addresses)
	}
	if err := a.DeleteBalancer(one.ID); !errors.Is(err, ErrBalancerUnknown) {
		t.Errorf("deleted twice: %v", err)
	}
}

// TestBalancerBecomesActiveByItself: without anybody asking, a watcher is told.
func TestBalancerBecomesActiveByItself(t *testing.T) {
	a := open(t, t.TempDir())
	if err := a.Switch(func(s *Switches) error { s.BalancerDelay = 0.05; return nil }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	changes := a.WatchBalancers(ctx)
	create(t, a, "web")
	for seen := range changes {
		if len(seen) == 1 && seen[0].Status == BalancerActive {
			cancel() // closes the channel, which ends the loop
			for range changes {
			}
			return
		}
	}
	t.Error("it never became active")
}

// TestSlowWatcher: one that does not read holds nobody up, and finds the last state.
func TestSlowWatcher(t *testing.T) {
	a := open(t, t.TempDir())
	changes := a.WatchBalancers(t.Context())
	for _, name := range []string{"a", "b", "c"} {
		create(t, a, name)
	}
	if seen := <-changes; len(seen) != 3 {
		t.Errorf("%d load balancers", len(seen))
	}
}

// TestChangeThatFails: leaves the snapshot as it was.
func TestChangeThatFails(t *testing.T) {
	a := open(t, t.TempDir())
	before, err := os.ReadFile(a.snapshotPath())
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("no")
	if err := a.Change(func(*State) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if after, _ := os.ReadFile(a.snapshotPath()); string(after) != string(before) {
		t.Error("the snapshot changed")
	}
}

// TestRequestLog: numbers go on over a reset, so that a reader never misses one for another.
func TestRequestLog(t *testing.T) {
	a := open(t, t.TempDir())
	a.Record(Request{Path: "/1"})
	a.Record(Request{Path: "/2"})
	if seen, last := a.Requests(1); last != 2 || len(seen) != 1 || seen[0].Path != "/2" {
		t.Errorf("%+v, %d", seen, last)
	}
	if err := a.Reset(); err != nil {
		t.Fatal(err)
	}
	a.Record(Request{Path: "/3"})
	if seen, last := a.Requests(2); last != 3 || len(seen) != 1 || seen[0].Path != "/3" {
		t.Errorf("%+v, %d", seen, last)
	}
}

// TestSystemToken: a part has a name of its own in the log, and keeps its token over a reset.
func TestSystemToken(t *testing.T) {
	a := open(t, t.TempDir())
	first, err := a.SystemToken("cloud-controller")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Reset(); err != nil {
		t.Fatal(err)
	}
	found, err := a.Authenticate(first.Value)
	if err != nil || found.Name != "integration-cloud-controller" || !found.Has("load_balancer:create") {
		t.Errorf("%+v, %v", found, err)
	}
}
