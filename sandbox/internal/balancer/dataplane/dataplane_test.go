package dataplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// patience is how long a test waits for something that must happen; it is never waited out in a run that passes.
const patience = 20 * time.Second

// cluster stands for what is inside the namespace: addresses that lead to servers of the test, or nowhere.
type cluster struct {
	mu      sync.Mutex
	targets map[string][]string // address to the real ones, taken in turn
	dialled map[string]int
}

func (c *cluster) set(address string, targets ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.targets[address] = targets
}

func (c *cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	targets, turn := c.targets[address], c.dialled[address]
	c.dialled[address]++
	c.mu.Unlock()
	if len(targets) == 0 {
		return nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
	}
	return (&net.Dialer{}).DialContext(ctx, network, targets[turn%len(targets)])
}

// messages is a log whose lines can be awaited.
type messages struct {
	slog.Handler
	lines chan string
}

func (m messages) Handle(_ context.Context, record slog.Record) error {
	m.lines <- record.Message
	return nil
}
func (m messages) Enabled(context.Context, slog.Level) bool { return true }
func (m messages) WithAttrs([]slog.Attr) slog.Handler       { return m }

// bench runs a plane whose seconds last a hundredth of one.
type bench struct {
	t       *testing.T
	cluster *cluster
	plane   *plane
	lines   chan string
}

func newBench(t *testing.T) *bench {
	inside := &cluster{targets: map[string][]string{}, dialled: map[string]int{}}
	lines := make(chan string, 100)
	plane := &plane{
		config: Config{Dial: inside.dial, Log: slog.New(messages{slog.DiscardHandler, lines})},
		second: 10 * time.Millisecond, fronts: map[route]context.CancelFunc{},
	}
	t.Cleanup(func() { plane.follow(t.Context(), nil); plane.running.Wait() })
	return &bench{t, inside, plane, lines}
}

func (b *bench) await(message string) {
	b.t.Helper()
	for {
		select {
		case line := <-b.lines:
			if line == message {
				return
			}
		case <-time.After(patience):
			b.t.Fatalf("%q was never logged", message)
		}
	}
}

// serve starts a pod that answers its name, and gives its address.
func serve(t *testing.T, name string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// healthyNode makes kube-proxy's health answer as the flag says.
func (b *bench) healthyNode() *atomic.Bool {
	healthy := &atomic.Bool{}
	healthy.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !healthy.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	b.t.Cleanup(server.Close)
	b.cluster.set(settings.NodeIP+":10256", server.Listener.Addr().String())
	return healthy
}

// freePort is a port of the address that nothing listens on.
func freePort(t *testing.T, address string) int {
	listener, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

const address = "127.77.250.10"

func regional(port int) account.Balancer {
	return account.Balancer{LoadBalancer: godo.LoadBalancer{
		ID: "lb", Status: account.BalancerActive, IP: address, Type: godo.LoadBalancerTypeRegional, DropletIDs: []int{1001},
		ForwardingRules: []godo.ForwardingRule{{EntryProtocol: "http", EntryPort: port, TargetProtocol: "http", TargetPort: 30080}},
		HealthCheck: &godo.HealthCheck{Protocol: "http", Port: 10256, Path: "/healthz", CheckIntervalSeconds: 3,
			ResponseTimeoutSeconds: 300, HealthyThreshold: 5, UnhealthyThreshold: 3},
	}}
}

func get(t *testing.T, port int) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get("http://" + net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func assertRefused(t *testing.T, port int) {
	t.Helper()
	connection, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err == nil {
		connection.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("want a refused connection, got %v", err)
	}
}

func TestTrafficReachesEveryPodAndFollowsTheirHealth(t *testing.T) {
	b := newBench(t)
	b.healthyNode()
	first, second := serve(t, "first"), serve(t, "second")
	port := freePort(t, address)

	b.plane.follow(t.Context(), []account.Balancer{regional(port)})
	assertRefused(t, port) // no pod yet

	b.cluster.set(settings.NodeIP+":30080", first, second)
	b.await("open")
	seen := map[string]bool{}
	for len(seen) < 2 {
		seen[get(t, port)] = true
	}

	b.cluster.set(settings.NodeIP + ":30080")
	b.await("closed")
	assertRefused(t, port)

	b.cluster.set(settings.NodeIP+":30080", second)
	b.await("open")
	for get(t, port) != "second" { // the first dials may still have the old turn
	}

	b.plane.follow(t.Context(), nil)
	assertRefused(t, port)
}

func TestOnePodThatIsGoneIsPassedOver(t *testing.T) {
	b := newBench(t)
	target := settings.NodeIP + ":30080"
	gone := net.JoinHostPort(address, strconv.Itoa(freePort(t, address)))
	b.cluster.set(target, gone, serve(t, "alive"))
	front := &front{route: route{target: target}, dial: b.cluster.dial}
	connection, err := front.reach(t.Context())
	if err != nil {
		t.Fatalf("a client is dropped: %v", err)
	}
	connection.Close()
	check := godo.HealthCheck{CheckIntervalSeconds: 1, ResponseTimeoutSeconds: 5, UnhealthyThreshold: 3}
	health := &health{route: route{target: target, check: check}, dial: b.cluster.dial, second: time.Second}
	if err := health.probeTarget(t.Context()); err != nil {
		t.Errorf("the address would be closed: %v", err)
	}
}

func TestAnUnhealthyNodeClosesTheAddress(t *testing.T) {
	b := newBench(t)
	healthy := b.healthyNode()
	b.cluster.set(settings.NodeIP+":30080", serve(t, "pod"))
	port := freePort(t, address)
	b.plane.follow(t.Context(), []account.Balancer{regional(port)})
	b.await("open")
	healthy.Store(false)
	b.await("closed")
	healthy.Store(true)
	b.await("open")
}

func TestAnEqualUpdateCutsNoConnection(t *testing.T) {
	b := newBench(t)
	b.healthyNode()
	echo := startEcho(t)
	b.cluster.set(settings.NodeIP+":30080", echo)
	port := freePort(t, address)
	b.plane.follow(t.Context(), []account.Balancer{regional(port)})
	b.await("open")
	connection, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	assertEcho(t, connection, "before")
	b.plane.follow(t.Context(), []account.Balancer{regional(port)})
	assertEcho(t, connection, "after")

	b.plane.follow(t.Context(), nil)
	if _, err := bufio.NewReader(connection).ReadString('\n'); err == nil {
		t.Error("the connection outlived its load balancer")
	}
}

func startEcho(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(connection, connection); connection.Close() }()
		}
	}()
	return listener.Addr().String()
}

func assertEcho(t *testing.T, connection net.Conn, word string) {
	t.Helper()
	fmt.Fprintln(connection, word)
	line, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != word {
		t.Errorf("want %q back, got %q, %v", word, line, err)
	}
}

func TestTheProxyProtocolNamesTheClient(t *testing.T) {
	b := newBench(t)
	b.healthyNode()
	b.cluster.set(settings.NodeIP+":30080", startEcho(t))
	port := freePort(t, address)
	balancer := regional(port)
	balancer.EnableProxyProtocol = true
	b.plane.follow(t.Context(), []account.Balancer{balancer})
	b.await("open")
	connection, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	line, err := bufio.NewReader(connection).ReadString('\n')
	want := fmt.Sprintf("PROXY TCP4 127.0.0.1 %s %d %d\r\n", address, connection.LocalAddr().(*net.TCPAddr).Port, port)
	if err != nil || line != want {
		t.Errorf("want %q, got %q, %v", want, line, err)
	}
}

func TestRoutes(t *testing.T) {
	b := newBench(t)
	change := func(alter func(*godo.LoadBalancer)) []route {
		balancer := regional(80).LoadBalancer
		alter(&balancer)
		return b.plane.routes(balancer)
	}
	if got := change(func(l *godo.LoadBalancer) {
		l.Type = godo.LoadBalancerTypeRegionalNetwork
		l.ForwardingRules[0].TargetPort = 80
	}); got[0].target != address+":80" {
		t.Errorf("a network load balancer leads to %s", got[0].target)
	}
	for name, alter := range map[string]func(*godo.LoadBalancer){
		"new":         func(l *godo.LoadBalancer) { l.Status = account.BalancerNew },
		"no droplets": func(l *godo.LoadBalancer) { l.DropletIDs = nil },
		"udp":         func(l *godo.LoadBalancer) { l.ForwardingRules[0].EntryProtocol = "udp" },
		"tls":         func(l *godo.LoadBalancer) { l.ForwardingRules[0].EntryProtocol = "https" },
	} {
		if got := change(alter); len(got) != 0 {
			t.Errorf("%s: served as %v", name, got)
		}
	}
}

func TestThresholds(t *testing.T) {
	bad := errors.New("bad")
	h := &health{route: route{check: godo.HealthCheck{HealthyThreshold: 3, UnhealthyThreshold: 2}}}
	for step, test := range []struct{ answer, verdict error }{
		{nil, nil}, {bad, nil}, {nil, nil}, {bad, nil}, {bad, bad}, {nil, bad}, {nil, bad}, {bad, bad}, {nil, bad}, {nil, bad}, {nil, nil},
	} {
		if got := h.judge(test.answer); (got == nil) != (test.verdict == nil) {
			t.Errorf("step %d: want %v, got %v", step, test.verdict, got)
		}
	}
}
