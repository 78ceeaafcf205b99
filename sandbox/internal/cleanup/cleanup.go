// Package cleanup takes away what a sandbox left on the machine, whatever ended it. All of it can be found by the
// sandbox's number and state folder, so nothing has to be remembered.
package cleanup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seaway-deploy/seaway/sandbox/internal/buildkit"
	"github.com/seaway-deploy/seaway/sandbox/internal/engine"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Run removes processes, mounts, cgroups and state of a sandbox whose supervisor is gone or is the caller. The logs and
// the lock files stay: those for people, these because another `up` may be waiting for them.
func Run(s settings.Settings) error {
	if os.Geteuid() != 0 { // then nothing could be made but processes and files
		return errors.Join(killProcesses(s), removeState(s))
	}
	return errors.Join(
		killProcesses(s),
		unmount(s),
		engine.Cleanup(s),
		buildkit.Cleanup(s),
		removeCgroups(s.Cgroup()),
		removeState(s),
	)
}

// kept are the names in the state folder that stay.
var kept = map[string]bool{"logs": true, "supervisor.lock": true, "start.lock": true}

func removeState(s settings.Settings) error {
	entries, err := os.ReadDir(s.State)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var problems []error
	for _, entry := range entries {
		if !kept[entry.Name()] {
			problems = append(problems, os.RemoveAll(filepath.Join(s.State, entry.Name())))
		}
	}
	return errors.Join(problems...)
}

// unmount takes away mounts below the state folder that the machine itself sees, the innermost first.
func unmount(s settings.Settings) error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(table), "\n")
	var problems []error
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) < 2 || !strings.HasPrefix(fields[1], s.State+"/") {
			continue
		}
		if err := unix.Unmount(fields[1], unix.MNT_DETACH); err != nil {
			problems = append(problems, fmt.Errorf("unmount %s: %w", fields[1], err))
		}
	}
	return errors.Join(problems...)
}

// patience is how long killed processes and their cgroups may take to go.
const patience = 5 * time.Second

// eventually repeats a check until it says that all is done.
func eventually(done func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		finished, err := done()
		if finished || time.Now().After(deadline) {
			return err
		}
	}
}
