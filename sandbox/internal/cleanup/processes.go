package cleanup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// killProcesses ends every process that was started for this sandbox: each carries SANDBOX_STATE in its environment,
// which also survives a supervisor that could not write anything down. Containers end with process 1 of their node.
func killProcesses(s settings.Settings) error {
	mark := []byte("SANDBOX_STATE=" + s.State + "\x00")
	return eventually(func() (bool, error) {
		pids, err := marked(mark)
		if err != nil || len(pids) == 0 {
			return true, err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return true, fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		return false, fmt.Errorf("processes %v of the sandbox do not end", pids)
	})
}

// marked finds the sandbox's own programs: the mark in the environment, and started as supervisor or below it. The
// caller and a person's shell or tests, which may have exported the same variable, are left alone.
func marked(mark []byte) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue // it ended while we looked, or it is of the kernel
		}
		if bytes.Contains(append([]byte{0}, environment...), append([]byte{0}, mark...)) && bytes.Contains(environment, ownMark) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// Mark is set for the supervisor and is inherited by everything that it starts.
const Mark = "SANDBOX_PROCESS=1"

var ownMark = []byte(Mark + "\x00")
