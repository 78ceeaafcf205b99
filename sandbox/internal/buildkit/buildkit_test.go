package buildkit

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

func TestAProgramThatIsNotBuiltIsAnErrorWithACure(t *testing.T) {
	folder := t.TempDir()
	s := settings.Settings{Number: 247, State: filepath.Join(folder, "state"), Cache: filepath.Join(folder, "cache")}
	err := Run(t.Context(), Config{Settings: s, Log: slog.New(slog.DiscardHandler), Program: filepath.Join(folder, "buildkitd")},
		func(string) { t.Error("ready without a program") })
	if err == nil || !strings.Contains(err.Error(), "sandbox/build.sh") {
		t.Errorf("got %v", err)
	}
}

func TestBuildkitServesAndEnds(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: buildkitd has namespaces of its own")
	}
	machine, err := settings.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	program, err := filepath.EvalSymlinks(filepath.Join(machine.Cache, "bin", "current", "buildkitd"))
	if err != nil {
		t.Skip("needs buildkitd: sandbox/build.sh makes it")
	}
	folder := t.TempDir()
	s := settings.Settings{Number: 247, State: filepath.Join(folder, "state"), Cache: filepath.Join(folder, "cache")}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err = Run(ctx, Config{Settings: s, Log: slog.New(slog.DiscardHandler), Program: program}, func(string) {
		if err := knock(ctx, s.BuildkitSocket()); err != nil {
			t.Errorf("ready, but: %v", err)
		}
		stop()
	})
	if err != nil {
		t.Fatal(err)
	}
	if connection, err := net.Dial("unix", s.BuildkitSocket()); err == nil {
		_ = connection.Close()
		t.Error("buildkitd answers after its end")
	}
}
