// Package tests drives whole sandboxes from outside, by their command line.
//
// The test binary is the sandbox as well: with a command instead of test flags it behaves as `sandbox` does. So what is
// tested is always what was just compiled.
package tests

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/cli"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == webCommand {
		serveWeb()
	}
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		os.Exit(cli.Main(os.Args))
	}
	os.Exit(m.Run())
}

// requireMachine fails, and does not skip, where real pods cannot run: a green run must mean that it was proven.
func requireMachine(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests start real clusters: run them as root")
	}
	for _, name := range []string{"containerd", "runc", "iptables-save", "conntrack", "dockerd", "docker-registry"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is not installed: sandbox/build.sh installs it", name)
		}
	}
}
