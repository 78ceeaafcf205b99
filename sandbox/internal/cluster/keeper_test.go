package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// asProcessOne runs the test that calls it again, as process 1 of a process namespace: there its reaper takes no other
// test's children, and nothing outlives it. It tells whether the caller is that process.
func asProcessOne(t *testing.T) bool {
	t.Helper()
	if os.Getpid() == 1 {
		return true
	}
	if os.Geteuid() != 0 {
		t.Fatal("process namespaces need root")
	}
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if output, err := again.CombinedOutput(); err != nil {
		t.Errorf("as process 1: %v\n%s", err, output)
	}
	return false
}

// TestKeeperStartsAgain: a program that is killed or ends by itself is told and started again.
func TestKeeperStartsAgain(t *testing.T) {
	if !asProcessOne(t) {
		return
	}
	tidings := make(chan news, 16)
	keeper := newKeeper(func(n news) { tidings <- n })
	go keeper.reap()
	log := filepath.Join(t.TempDir(), "log")
	keeper.keep(program{Name: "sleeper", Path: "/bin/sleep", Args: []string{"sleep", "1000"}, Log: log})
	first := expectNews(t, tidings, newsStarted, "")
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	expectNews(t, tidings, newsExited, "killed by SIGKILL")
	second := expectNews(t, tidings, newsStarted, "")
	if second == first {
		t.Error("it was not started again")
	}
	if err := syscall.Kill(second, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expectNews(t, tidings, newsExited, "killed by SIGTERM")
	expectNews(t, tidings, newsStarted, "")
}

// TestKeeperTellsWhatCannotStart, and does not try for ever.
func TestKeeperTellsWhatCannotStart(t *testing.T) {
	tidings := make(chan news, 16)
	keeper := newKeeper(func(n news) { tidings <- n })
	keeper.keep(program{Name: "ghost", Path: "/no/such/program", Args: []string{"ghost"}, Log: os.DevNull})
	if n := <-tidings; n.Kind != newsFailed || n.Name != "ghost" || n.Detail == "" {
		t.Errorf("%+v", n)
	}
}

func expectNews(t *testing.T, tidings <-chan news, kind, detail string) int {
	t.Helper()
	n := <-tidings
	if n.Kind != kind || n.Detail != detail {
		t.Fatalf("news %+v, want %s %q", n, kind, detail)
	}
	return n.PID
}
