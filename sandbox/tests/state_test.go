package tests

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// TestReset takes away what was made and keeps what was seeded.
func TestReset(t *testing.T) {
	b := newBox(t, 181)
	b.run("up", "--parts", "cluster,api,volumes")
	seeded := b.run("kubectl", "get", "storageclasses,namespaces", "-o", "name")
	b.run("kubectl", "create", "namespace", "mine")
	b.run("kubectl", "-n", "default", "create", "configmap", "mine")
	b.run("kubectl", "create", "clusterrole", "mine", "--verb=get", "--resource=pods")
	b.run("reset")
	if now := b.run("kubectl", "get", "storageclasses,namespaces", "-o", "name"); now != seeded {
		t.Errorf("seeded were\n%sand now there are\n%s", seeded, now)
	}
	left := b.run("kubectl", "get", "configmaps,clusterroles", "-n", "default", "-o", "name")
	if strings.Contains(left, "/mine") {
		t.Errorf("left over:\n%s", left)
	}
	b.requireReady()
}

// TestUpTellsWhatFailed: the part and the cause, on a port that somebody else has.
func TestUpTellsWhatFailed(t *testing.T) {
	b := newBox(t, 182)
	taken, err := net.Listen("tcp", b.HostPort(settings.PortGitHub))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	output, err := b.command("up", "--parts", "github,control").CombinedOutput()
	if err == nil || err.Error() != "exit status 1" {
		t.Errorf("up: %v, want exit status 1", err)
	}
	for _, want := range []string{"github            FAILED", "address already in use", "control           ready"} {
		if !strings.Contains(string(output), want) {
			t.Errorf("%q is not in:\n%s", want, output)
		}
	}
	if err := b.command("status").Run(); err == nil || err.Error() != "exit status 1" {
		t.Errorf("status: %v, want exit status 1", err)
	}
}

// TestEnvironment: what `sandbox env` exports exists, and the bundle holds the machine's certificates and one more.
func TestEnvironment(t *testing.T) {
	b := newBox(t, 183)
	b.run("up", "--parts", "api,registry")
	exports := map[string]string{}
	for _, line := range lines(b.run("env")) {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		exports[name] = strings.Trim(value, "'")
	}
	for _, file := range []string{"SANDBOX_CA_BUNDLE", "SEAWAY_REGISTRY_CONFIG", "CONTAINERS_REGISTRIES_CONF"} {
		if _, err := os.Stat(exports[file]); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	bundle := read(t, exports["SANDBOX_CA_BUNDLE"])
	own := read(t, b.CACertificate())
	if !strings.HasSuffix(bundle, own) || strings.Count(bundle, "BEGIN CERTIFICATE") < 2 {
		t.Error("the bundle does not hold the machine's certificates and the sandbox's own")
	}
	if exports["DIGITALOCEAN_API_URL"] != "http://127.77.183.1:8000" {
		t.Errorf("DIGITALOCEAN_API_URL is %q", exports["DIGITALOCEAN_API_URL"])
	}
}
