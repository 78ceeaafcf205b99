package enclosure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

func TestTheResolverKeepsOnlyServersBehindTheCable(t *testing.T) {
	kept, usable := withoutLoopback("# mine\nnameserver 127.0.0.53\nnameserver fd00::1\nnameserver 192.0.2.1\nsearch example.com\n")
	if want := "# mine\nnameserver 192.0.2.1\nsearch example.com\n"; kept != want || !usable {
		t.Errorf("got %q, usable %v", kept, usable)
	}
	if _, usable := withoutLoopback("nameserver 127.0.0.53\n"); usable {
		t.Error("a resolver on loopback alone passed as usable")
	}
}

func TestACableAvoidsTheRoutesOfTheMachine(t *testing.T) {
	taken := []netip.Prefix{netip.MustParsePrefix("10.67.0.0/16"), netip.MustParsePrefix("10.68.9.4/30")}
	for slot, want := range []string{"10.68.9.0/30", "10.69.9.4/30"} {
		got, err := firstFree(candidates(9, slot), taken)
		if err != nil || got.String() != want {
			t.Errorf("slot %d: got %v, %v; want %s", slot, got, err, want)
		}
	}
	if _, err := firstFree(candidates(9, 0), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err == nil {
		t.Error("found a free subnet where everything is taken")
	}
}

func TestOnlyRulesWithTheWholeTagArePicked(t *testing.T) {
	listed := "-P FORWARD ACCEPT\n" +
		"-A FORWARD -i sw1-engine -m comment --comment seaway-1-engine -j ACCEPT\n" +
		"-A FORWARD -i sw11-engine -m comment --comment seaway-11-engine -j ACCEPT\n" +
		"-A FORWARD -i other -m comment --comment \"seaway-1-engine of somebody else\" -j ACCEPT\n"
	got := taggedRules(listed, "seaway-1-engine")
	want := [][]string{strings.Fields("FORWARD -i sw1-engine -m comment --comment seaway-1-engine -j ACCEPT")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// machine is what an enclosure could leave behind.
func machine(t *testing.T) string {
	t.Helper()
	script := `iptables-save | grep -o '^-A.*' | sort; ip -br link | cut -d' ' -f1; cat /proc/mounts; find /sys/fs/cgroup -maxdepth 2 -name 'seaway-249-*'; cat /proc/sys/net/ipv4/conf/*/forwarding | head -3`
	text, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("look at the machine: %v: %s", err, text)
	}
	return string(text)
}

// box opens an enclosure whose daemon is a shell script.
func box(t *testing.T, script string) (*Enclosure, Config) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: namespaces and a cable are made")
	}
	folder := t.TempDir()
	config := Config{
		Settings: settings.Settings{Number: 249, State: filepath.Join(folder, "state"), Cache: filepath.Join(folder, "cache")},
		Name:     "test", Slot: 63, Command: []string{"/bin/sh", "-c", script},
	}
	opened, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	return opened, config
}

func TestADaemonReachesTheMachineAndIsReachedAndLeavesNothing(t *testing.T) {
	before := machine(t)
	opened, config := box(t, `mkdir /sys/fs/cgroup/pids/seaway-249-test; mount -t tmpfs tmpfs /mnt; test -z "$(ls /run)" && echo alone; exec sleep 600`)
	listener, err := opened.Namespace().Listen("tcp", "127.77.249.1:5002")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		connection, err := listener.Accept()
		if err == nil {
			_, _ = io.WriteString(connection, "hello")
			_ = connection.Close()
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- opened.Serve(ctx, time.Second, func(ctx context.Context) error {
			_, err := opened.Namespace().DialContext(ctx, "tcp", "127.77.249.1:5002")
			return err
		}, stop)
	}()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if after := machine(t); after != before {
		t.Errorf("the machine before:\n%s\nand after:\n%s", before, after)
	}
	if err := Cleanup(config); err != nil {
		t.Errorf("clean up where nothing is left: %v", err)
	}
	if _, err := net.Dial("tcp", "127.77.249.1:5002"); err == nil {
		t.Error("what listens inside can be reached on the machine")
	}
}

func TestAnEndedDaemonIsAnErrorWithItsLastWords(t *testing.T) {
	opened, _ := box(t, "echo no space left; exit 7")
	never := func(context.Context) error { return os.ErrNotExist }
	err := opened.Serve(t.Context(), time.Second, never, func() { t.Error("ready without an answer") })
	if err == nil || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("got %v", err)
	}
}

func TestCleanupEndsWhatAKilledSupervisorLeft(t *testing.T) {
	before := machine(t)
	opened, config := box(t, "trap '' TERM; sleep 600 & wait")
	if err := opened.Start(); err != nil {
		t.Fatal(err)
	}
	if err := Cleanup(config); err != nil {
		t.Fatal(err)
	}
	<-opened.ended
	if after := machine(t); after != before {
		t.Errorf("the machine before:\n%s\nand after:\n%s", before, after)
	}
}

func TestDockerHubsNamesLeadToTheStandIn(t *testing.T) {
	opened, config := box(t, "sleep 600")
	defer opened.Close(0)
	standIn, err := net.Listen("tcp", config.Settings.HostPort(settings.PortHub))
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(standIn, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "stand-in for "+r.Host)
	}))
	defer standIn.Close()
	hosts, err := os.ReadFile(config.folder("hosts"))
	if err != nil || !strings.Contains(string(hosts), "127.77.249.1 docker.io index.docker.io registry-1.docker.io\n") {
		t.Errorf("the names lead elsewhere: %v\n%s", err, hosts)
	}
	authorities, err := os.ReadFile(config.folder("authorities.crt"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authorities)
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return opened.Namespace().DialContext(ctx, network, "127.77.249.1:443")
		},
	}}
	answer, err := client.Get("https://registry-1.docker.io/v2/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "stand-in for registry-1.docker.io" {
		t.Errorf("got %q, %v", text, err)
	}
}
