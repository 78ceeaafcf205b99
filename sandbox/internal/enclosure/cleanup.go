package enclosure

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cleanup removes everything that an enclosure of this name and sandbox may have left on the machine, whatever ended
// it: its processes, its end of the cable, its firewall rules, its cgroups. Nothing there is no error.
func Cleanup(config Config) error {
	return errors.Join(
		endProcess(config.folder("init.pid")),
		unplug(config),
		removeCgroups("/sys/fs/cgroup", config.Tag()),
	)
}

// recordProcess remembers a process by its id and its start time, because ids are used again.
func recordProcess(path string, pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(fmt.Sprintf("%d %s\n", pid, started)), 0o644)
}

// startTime is when a process started, in clock ticks since boot (field 22 of proc_pid_stat(5)).
func startTime(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // field 2 is the name in brackets; field 3 follows
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "", fmt.Errorf("read the start time of process %d: short line %q", pid, text)
	}
	return fields[19], nil
}

// endProcess kills the recorded process, and with it its namespace, if it is still the same one.
func endProcess(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	fields := strings.Fields(string(text))
	if len(fields) == 2 {
		pid, _ := strconv.Atoi(fields[0])
		if now, err := startTime(pid); err == nil && now == fields[1] {
			if err := killAndWait(pid); err != nil {
				return err
			}
		}
	}
	return os.Remove(path)
}

// killAndWait returns once the process is gone (a pidfd becomes readable then, whoever its parent is).
func killAndWait(pid int) error {
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // it ended in between
	}
	defer unix.Close(handle)
	if err := unix.PidfdSendSignal(handle, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}, 5000)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// removeCgroups removes the cgroups of this name in every hierarchy of v1, or in the only one of v2.
func removeCgroups(root, name string) error {
	found, err := filepath.Glob(filepath.Join(root, "*", name))
	if err != nil {
		return err
	}
	for _, folder := range append(found, filepath.Join(root, name)) {
		if err := removeCgroup(folder); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroup removes a cgroup from its leaves up. Killed members leave a moment later, so a busy one is asked again.
func removeCgroup(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeCgroup(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Rmdir(folder)
		if err == nil || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup %s: %w", folder, err)
		}
	}
}
