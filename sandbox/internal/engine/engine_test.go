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

func TestTheEngineServesAndLeavesOnlyItsImages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the engine has namespaces of its own")
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		t.Skip("needs dockerd: apt-get install docker.io")
	}
	s := sandbox(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := Run(ctx, Config{Settings: s, Log: slog.New(slog.DiscardHandler)}, func(detail string) {
		if detail != "unix://"+s.DockerSocket() {
			t.Errorf("ready with %q", detail)
		}
		if err := ping(ctx, s.DockerSocket()); err != nil {
			t.Errorf("ready, but: %v", err)
		}
		stop()
	})
	if err != nil {
		t.Fatal(err)
	}
	if connection, err := net.Dial("unix", s.DockerSocket()); err == nil {
		_ = connection.Close()
		t.Error("the engine answers after its end")
	}
	text, err := os.ReadFile(daemonFile(s))
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
	if _, err := os.Stat(filepath.Join(written.DataRoot, "overlay2")); err != nil {
		t.Errorf("the images are not in the state folder: %v", err)
	}
}
