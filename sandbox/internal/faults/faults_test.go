package faults_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/faults"
	"github.com/seaway-deploy/seaway/sandbox/internal/sandboxtest"
	"github.com/seaway-deploy/seaway/sandbox/internal/serve"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// bench is a service that echoes what it gets, with the proxies in front.
type bench struct {
	*sandboxtest.Bench
	t     *testing.T
	rules *faults.Rules
	mu    sync.Mutex
	got   []string // bodies that the service read to their end
}

// newBench starts both. Every request opens a connection of its own.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{Bench: sandboxtest.New(t), t: t, rules: faults.NewRules()}
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // cut: the client hears nothing
		}
		b.mu.Lock()
		b.got = append(b.got, string(body))
		b.mu.Unlock()
		_, _ = w.Write(body)
	})
	for _, port := range []int{settings.PortRegistry, settings.PortKubernetes} {
		b.Start("echo", func(ctx context.Context, ready func(string)) error {
			listeners, err := b.Listen(port)
			if err != nil {
				return err
			}
			ready("")
			return serve.HTTP(ctx, listeners, echo, b.Log)
		})
	}
	b.Start("faults", func(ctx context.Context, ready func(string)) error {
		return faults.Run(ctx, faults.Config{Settings: b.Settings, Rules: b.rules, Listen: b.Listen, Log: b.Log}, ready)
	})
	return b
}

// add adds a rule for the registry.
func (b *bench) add(rule faults.Rule) faults.Rule {
	b.t.Helper()
	if rule.Target == "" {
		rule.Target = faults.Registry
	}
	added, err := b.rules.Add(rule)
	if err != nil {
		b.t.Fatal(err)
	}
	return added
}

// send sends a body through a proxy and gives the answer's status and body.
func (b *bench) send(port int, method, path, body string) (int, string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	request, err := http.NewRequest(method, b.Settings.URL(port)+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

// TestPassesUnchanged: without a rule the proxy is not noticed, and counts.
func TestPassesUnchanged(t *testing.T) {
	b := newBench(t)
	status, body, err := b.send(settings.PortFaultRegistry, "PUT", "/v2/x", "hello")
	if status != http.StatusOK || body != "hello" || err != nil {
		t.Fatalf("%d %q %v", status, body, err)
	}
	count := b.rules.Counts()[faults.Registry]["PUT"]
	if count.Requests != 1 || count.RequestBytes != 5 || count.ResponseBytes != 5 || count.Statuses[200] != 1 {
		t.Errorf("counted %+v", count)
	}
}

// TestStatus: the first matching requests are answered with a status, the next pass.
func TestStatus(t *testing.T) {
	b := newBench(t)
	b.add(faults.Rule{Method: "PUT", Path: "/uploads/", Status: 503, RetryAfter: 7, Times: 2, Skip: 1})
	var statuses []int
	for range 4 {
		status, _, err := b.send(settings.PortFaultRegistry, "PUT", "/v2/x/uploads/1", strings.Repeat("x", 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, status)
	}
	if want := []int{200, 503, 503, 200}; !slices.Equal(statuses, want) {
		t.Errorf("answered %v, want %v", statuses, want)
	}
	if status, _, _ := b.send(settings.PortFaultRegistry, "GET", "/v2/x/uploads/1", ""); status != http.StatusOK {
		t.Errorf("another method is hit: %d", status)
	}
	if hits := b.rules.List()[0].Hits; hits != 2 {
		t.Errorf("%d hits", hits)
	}
}

// TestWatch: a rule that watches counts what its requests carry, and changes nothing.
func TestWatch(t *testing.T) {
	b := newBench(t)
	b.add(faults.Rule{Path: "/ours/", Method: "PUT|PATCH", Watch: true})
	b.add(faults.Rule{Path: "/ours/", Status: 503, Times: 1})
	for _, path := range []string{"/ours/1", "/ours/2", "/theirs/1"} {
		if _, _, err := b.send(settings.PortFaultRegistry, "PUT", path, strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	rules := b.rules.List()
	if rules[0].RequestBytes != 2000 || rules[0].Hits != 0 || rules[1].Hits != 1 {
		t.Errorf("%+v", rules)
	}
}

// TestCutRequest: the service never sees the whole body, and the client gets an error.
func TestCutRequest(t *testing.T) {
	b := newBench(t)
	after := int64(1000)
	b.add(faults.Rule{CutRequest: &after, Times: 1})
	body := strings.Repeat("x", 4<<20)
	if status, _, err := b.send(settings.PortFaultRegistry, "PUT", "/", body); err == nil {
		t.Errorf("answered %d", status)
	}
	if status, got, err := b.send(settings.PortFaultRegistry, "PUT", "/", body); status != http.StatusOK || got != body || err != nil {
		t.Errorf("the next one: %d, %d bytes, %v", status, len(got), err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got) != 1 {
		t.Errorf("the service read %d bodies to their end", len(b.got))
	}
}

// TestCutResponse: the client sees the beginning of the answer and an error.
func TestCutResponse(t *testing.T) {
	b := newBench(t)
	after := int64(3)
	b.add(faults.Rule{CutResponse: &after})
	_, body, err := b.send(settings.PortFaultRegistry, "PUT", "/", "hello")
	if body != "hel" || err == nil {
		t.Errorf("%q, %v", body, err)
	}
}

// TestHold: a held request is never answered, and is let go when the rule is removed.
func TestHold(t *testing.T) {
	b := newBench(t)
	rule := b.add(faults.Rule{Hold: true})
	ended := make(chan error, 1)
	go func() {
		_, _, err := b.send(settings.PortFaultRegistry, "GET", "/", "")
		ended <- err
	}()
	for b.rules.List()[0].Hits == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended with %v", err)
	default:
	}
	if !b.rules.Remove(rule.ID) {
		t.Fatal("the rule is not there")
	}
	if err := <-ended; err == nil {
		t.Error("what was held was answered")
	}
}

// TestRefuse: the port is closed for a while, then it serves again.
func TestRefuse(t *testing.T) {
	b := newBench(t)
	b.add(faults.Rule{Refuse: 0.3})
	refused := false
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		connection, err := net.Dial("tcp", b.Settings.HostPort(settings.PortFaultRegistry))
		if err == nil {
			_ = connection.Close()
		}
		if refused = refused || err != nil; refused && err == nil {
			if status, _, err := b.send(settings.PortFaultRegistry, "GET", "/", ""); status == http.StatusOK && err == nil {
				return
			}
		}
	}
	t.Errorf("refused: %v, and it did not come back", refused)
}

// TestConnections: connections to Kubernetes are carried, counted, cut and held back as a whole.
func TestConnections(t *testing.T) {
	b := newBench(t)
	body := strings.Repeat("x", 1<<20)
	if status, got, err := b.send(settings.PortFaultKubernetes, "PUT", "/", body); status != http.StatusOK || got != body || err != nil {
		t.Fatalf("%d, %d bytes, %v", status, len(got), err)
	}
	if count := b.rules.Counts()[faults.Kubernetes]["CONNECT"]; count.Requests != 1 || count.RequestBytes < 1<<20 || count.ResponseBytes < 1<<20 {
		t.Errorf("counted %+v", count)
	}
	after := int64(5000)
	b.add(faults.Rule{Target: faults.Kubernetes, CutResponse: &after, Times: 1})
	if _, got, err := b.send(settings.PortFaultKubernetes, "PUT", "/", body); err == nil || len(got) >= len(body) {
		t.Errorf("cut: %d bytes, %v", len(got), err)
	}
	if _, got, err := b.send(settings.PortFaultKubernetes, "PUT", "/", body); err != nil || got != body {
		t.Errorf("after the cut: %d bytes, %v", len(got), err)
	}
}

// TestRulesAreChecked: a rule that cannot work is refused with the reason.
func TestRulesAreChecked(t *testing.T) {
	rules := faults.NewRules()
	for _, wrong := range []struct {
		rule   faults.Rule
		reason string
	}{
		{faults.Rule{Target: "moon", Hold: true}, "target"},
		{faults.Rule{Target: faults.Registry}, "does nothing"},
		{faults.Rule{Target: faults.Registry, Path: "(", Hold: true}, "path"},
		{faults.Rule{Target: faults.Registry, Status: 42}, "status"},
		{faults.Rule{Target: faults.Kubernetes, Method: "GET", Hold: true}, "encrypted"},
	} {
		if _, err := rules.Add(wrong.rule); err == nil || !strings.Contains(err.Error(), wrong.reason) {
			t.Errorf("%+v: %v", wrong.rule, err)
		}
	}
}
