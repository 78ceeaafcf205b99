package cluster

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestPauseProgram: it is a valid program that runs until it is killed.
func TestPauseProgram(t *testing.T) {
	header, err := elf.NewFile(bytes.NewReader(pauseProgram()))
	if err != nil {
		t.Fatal(err)
	}
	if header.Machine != elf.EM_X86_64 || header.Type != elf.ET_EXEC || len(header.Progs) != 1 {
		t.Fatalf("header %+v", header.FileHeader)
	}
	file := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(file, pauseProgram(), 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(file)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if err := command.Process.Signal(syscall.SIGCHLD); err != nil { // ignored, as nothing but an end would be reported
		t.Fatal(err)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatalf("it ended by itself: %v", err)
	}
	err = command.Wait()
	if status := command.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("it ended by itself: %v", err)
	}
}
