package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// sandbox is one of its own, on the disk: overlay2 does not work on every file system that a temporary folder may be.
func sandbox(t *testing.T) settings.Settings {
	t.Helper()
	folder := t.TempDir()
	return settings.Settings{Number: 248, State: filepath.Join(folder, "state"), Cache: filepath.Join(folder, "cache")}
}

func TestTheBridgeIsTheFirstAddressOfItsSubnet(t *testing.T) {
	bridge, err := bridgeAddress(7)
	if err != nil || !strings.HasSuffix(bridge.String(), ".7.1/24") {
		t.Errorf("got %v, %v", bridge, err)
	}
}

func TestAnEngineThatIsNotBuiltIsAnErrorWithACure(t *testing.T) {
	err := Engine29.Run(t.Context(), Config{Settings: sandbox(t), Log: slog.New(slog.DiscardHandler)},
		func(string) { t.Error("ready without a program") })
	if err == nil || !strings.Contains(err.Error(), "SANDBOX_MOBY=1 sandbox/build.sh") {
		t.Errorf("got %v", err)
	}
}

func TestEnginesServeAndLeaveOnlyTheirImages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: an engine has namespaces of its own")
	}
	for _, kind := range []Kind{Debian, Engine29, Layers29} {
		t.Run(kind.Name, func(t *testing.T) { servesAndLeavesOnlyItsImages(t, kind) })
	}
}

// built puts what build.sh has made into the sandbox, as its start does. Without all that the kind needs the test is skipped.
func built(t *testing.T, s settings.Settings, kind Kind) {
	t.Helper()
	machine, err := settings.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.Path("bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range kind.programs {
		program, err := filepath.EvalSymlinks(filepath.Join(machine.Cache, "bin", "current", name))
		if err != nil {
			t.Skipf("needs %s: SANDBOX_MOBY=1 sandbox/build.sh makes it", name)
		}
		if err := os.Symlink(program, s.Path("bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath("dockerd"); len(kind.programs) == 0 && err != nil {
		t.Skip("needs dockerd: apt-get install docker.io")
	}
}

func servesAndLeavesOnlyItsImages(t *testing.T, kind Kind) {
	s := sandbox(t)
	built(t, s, kind)
	socket := s.EngineSocket(kind.Name)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := kind.Run(ctx, Config{Settings: s, Log: slog.New(slog.DiscardHandler)}, func(detail string) {
		if detail != "unix://"+socket {
			t.Errorf("ready with %q", detail)
		}
		if err := ping(ctx, socket); err != nil {
			t.Errorf("ready, but: %v", err)
		}
		stop()
	})
	if err != nil {
		t.Fatal(err)
	}
	if connection, err := net.Dial("unix", socket); err == nil {
		_ = connection.Close()
		t.Error("the engine answers after its end")
	}
	text, err := os.ReadFile(kind.daemonFile(s))
	if err != nil {
		t.Fatal(err)
	}
	var written daemon
	if err := json.Unmarshal(text, &written); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob("/sys/fs/cgroup/*" + written.CgroupParent); err != nil || len(left) > 0 {
		t.Errorf("cgroups are left: %v, %v", left, err)
	}
	images := map[string]string{Debian.Name: "overlay2", Layers29.Name: "overlay2", Engine29.Name: "containerd"}[kind.Name]
	if _, err := os.Stat(filepath.Join(written.DataRoot, images)); err != nil {
		t.Errorf("the images are not in the state folder: %v", err)
	}
}
