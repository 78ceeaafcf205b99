package tests

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/engine"
	"github.com/seaway-deploy/seaway/sandbox/internal/supervisor"
)

// TestDownLeavesNothing: also when `up` was called twice, which is once.
func TestDownLeavesNothing(t *testing.T) {
	b := newBox(t, 191)
	before := look(t)
	b.up()
	b.requireReady()
	first := b.process("supervise")
	if output := b.up(); !strings.Contains(output, "runs already") {
		t.Errorf("the second up says %q", output)
	}
	if second := b.process("supervise"); second != first {
		t.Errorf("the second up replaced supervisor %d by %d", first, second)
	}
	b.run("down")
	before.requireSame(t, b.Number)
	if err := b.command("status").Run(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("status of a stopped sandbox: %v, want exit status 3", err)
	}
}

// TestAddedPartsLeaveNothing: parts that a running sandbox gets later are as clean as the others, and as ready.
func TestAddedPartsLeaveNothing(t *testing.T) {
	b := newBox(t, 198)
	for _, name := range engine.Programs() {
		if _, err := os.Stat(filepath.Join(b.Cache, "bin", "current", name)); err != nil {
			t.Skipf("needs %s: SANDBOX_MOBY=1 sandbox/build.sh makes it", name)
		}
	}
	before := look(t)
	b.run("up", "--parts", "registry")
	b.run("up", "--parts", "engine29,layers29")
	all, err := b.client().Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range all {
		if part.State != supervisor.Ready {
			t.Errorf("%s is %s: %s", part.Part, part.State, part.Detail)
		}
	}
	if len(all) != 3 {
		t.Errorf("3 parts were chosen, and %d run", len(all))
	}
	b.run("down")
	before.requireSame(t, b.Number)
}

// TestKilledSupervisor: nothing outlives it but what down finds, and the next up starts afresh.
func TestKilledSupervisor(t *testing.T) {
	b := newBox(t, 192)
	before := look(t)
	b.up()
	b.kill("supervise")
	b.eventually("the node's programs end with the supervisor", func() bool { return b.process("component", "kubelet") == 0 })
	b.run("down")
	before.requireSame(t, b.Number)

	b.up()
	b.kill("supervise")
	b.up() // cleans up after the killed one by itself
	b.requireReady()
	b.run("down")
	before.requireSame(t, b.Number)
}

// TestKilledPrograms: a program of the node that dies is started again, and leaves nothing more behind than one that lived.
func TestKilledPrograms(t *testing.T) {
	b := newBox(t, 193)
	before := look(t)
	b.up()
	for _, name := range []string{"etcd", "kubelet", "kube-apiserver", "kube-proxy"} {
		dead := b.kill("component", name)
		b.eventually(name+" runs again", func() bool {
			now := b.process("component", name)
			return now != 0 && now != dead
		})
	}
	b.eventually("the node is ready again", func() bool {
		ready, err := b.nodeReady()
		return err == nil && ready
	})
	b.run("down")
	before.requireSame(t, b.Number)
}

// TestKilledUp: the supervisor of a killed `up` goes on, and the next `up` joins it.
func TestKilledUp(t *testing.T) {
	b := newBox(t, 194)
	before := look(t)
	killed := b.command(someParts...)
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	b.eventually("the node's process 1 runs", func() bool { return b.process("cluster-init") != 0 })
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // says that it was killed
	b.up()
	b.requireReady()
	b.run("down")
	before.requireSame(t, b.Number)
}

// TestInterruptedUp takes back what it began.
func TestInterruptedUp(t *testing.T) {
	b := newBox(t, 195)
	before := look(t)
	interrupted := b.command(someParts...)
	if err := interrupted.Start(); err != nil {
		t.Fatal(err)
	}
	b.eventually("the node's process 1 runs", func() bool { return b.process("cluster-init") != 0 })
	if err := interrupted.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := interrupted.Wait(); err == nil || err.Error() != "exit status 130" {
		t.Errorf("an interrupted up: %v, want exit status 130", err)
	}
	before.requireSame(t, b.Number)
}

// TestTwoSandboxes run side by side, and the end of one leaves the other alone.
func TestTwoSandboxes(t *testing.T) {
	a, b := newBox(t, 196), newBox(t, 197)
	before := look(t)
	var both sync.WaitGroup
	failures := make(chan string, 2)
	for _, one := range []*box{a, b} {
		both.Go(func() {
			if output, err := one.command(someParts...).CombinedOutput(); err != nil {
				failures <- err.Error() + ": " + string(output)
			}
		})
	}
	both.Wait()
	close(failures)
	for failure := range failures {
		t.Fatal(failure)
	}
	a.requireReady()
	a.run("down")
	before.requireSame(t, a.Number)
	b.requireReady()
	b.run("down")
	before.requireSame(t, b.Number)
}
