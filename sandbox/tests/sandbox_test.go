package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
	"github.com/seaway-deploy/seaway/sandbox/internal/supervisor"
)

// box is a sandbox under test.
type box struct {
	settings.Settings
	t *testing.T
}

// newBox is a sandbox with its state in a folder of the test, down at the test's end whatever happens.
func newBox(t *testing.T, number int) *box {
	t.Helper()
	requireMachine(t)
	cache, err := settings.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	b := &box{settings.Settings{Number: number, State: t.TempDir(), Cache: cache.Cache}, t}
	t.Cleanup(func() {
		if output, err := b.command("down").CombinedOutput(); err != nil {
			t.Errorf("down at the end: %v: %s", err, output)
		}
	})
	return b
}

func (b *box) command(arguments ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], arguments...)
	command.Env = append(os.Environ(), "SANDBOX_STATE="+b.State, "SANDBOX_CACHE="+b.Cache, "SANDBOX_NUMBER="+strconv.Itoa(b.Number))
	return command
}

// run runs a command that must succeed, and gives its output.
func (b *box) run(arguments ...string) string {
	b.t.Helper()
	command := b.command(arguments...)
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		b.t.Fatalf("sandbox %s: %v\n%s%s", strings.Join(arguments, " "), err, output, problems.Bytes())
	}
	return string(output)
}

// someParts have everything that can be left behind: the namespaces of the node and of the engine, and a child process.
var someParts = []string{"up", "--parts", "cluster,api,registry,engine"}

func (b *box) up() string {
	b.t.Helper()
	return b.run(someParts...)
}

func (b *box) client() *supervisor.Client { return supervisor.NewClient(b.Settings) }

// requireReady fails unless all parts are ready and the API server knows a ready node.
func (b *box) requireReady() {
	b.t.Helper()
	all, err := b.client().Status(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, part := range all {
		if part.State != supervisor.Ready {
			b.t.Fatalf("%s is %s: %s", part.Part, part.State, part.Detail)
		}
	}
	if ready, err := b.nodeReady(); err != nil || !ready {
		b.t.Fatalf("the node is not ready (%v)", err)
	}
}

// nodeReady asks the API server through the address that users have.
func (b *box) nodeReady() (bool, error) {
	output, err := b.command("kubectl", "get", "nodes", "-o", "json", "--request-timeout=5s").Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return false, err
	}
	var nodes struct {
		Items []struct {
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := json.Unmarshal(output, &nodes); err != nil {
		return false, err
	}
	for _, node := range nodes.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				return true, nil
			}
		}
	}
	return false, nil
}

// process is the id of the sandbox's program whose command line starts with these words.
func (b *box) process(words ...string) int {
	b.t.Helper()
	wanted := strings.Join(append([]string{b.Path("bin", "sandbox")}, words...), " ")
	for pid, line := range commandLines() {
		if line == wanted || strings.HasPrefix(line, wanted+" ") {
			return pid
		}
	}
	return 0
}

// kill kills one of the sandbox's programs as nothing else would: at once.
func (b *box) kill(words ...string) int {
	b.t.Helper()
	pid := b.process(words...)
	if pid == 0 {
		b.t.Fatalf("%v does not run", words)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		b.t.Fatal(err)
	}
	return pid
}

// eventually waits for something that nobody announces, and fails after a minute.
func (b *box) eventually(what string, done func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited a minute: %s", what)
		}
	}
}
