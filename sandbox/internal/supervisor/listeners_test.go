package supervisor

import (
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/netns"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// TestListenersReachLaterNamespaces: a port that is open is served in a namespace that comes later, and one that is
// opened later is served in both.
func TestListenersReachLaterNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root")
	}
	s := settings.Settings{Number: 198}
	listeners := NewListeners(s)
	early := listen(t, listeners, 9901)
	inside := newNamespace(t)
	if err := listeners.Add(inside); err != nil {
		t.Fatal(err)
	}
	late := listen(t, listeners, 9902)
	for name, listener := range map[string]net.Listener{"early": early, "late": late} {
		address := listener.Addr().String()
		expect(t, name+" inside", listener, func() (net.Conn, error) { return inside.DialContext(t.Context(), "tcp", address) })
		expect(t, name+" outside", listener, func() (net.Conn, error) { return net.Dial("tcp", address) })
	}
	if _, err := listeners.Listen(9901); err == nil {
		t.Error("a port was given twice")
	}
	if err := early.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := early.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
	if connection, err := inside.DialContext(t.Context(), "tcp", s.HostPort(9901)); err == nil {
		connection.Close()
		t.Error("a closed port answers inside")
	}
}

func listen(t *testing.T, listeners *Listeners, port int) net.Listener {
	t.Helper()
	all, err := listeners.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { all[0].Close() })
	return all[0]
}

// newNamespace is held by a process that waits for the end of the test.
func newNamespace(t *testing.T) *netns.Namespace {
	t.Helper()
	holder := exec.Command("sh", "-c", "ip link set lo up && echo up && exec cat")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	input, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { input.Close(); holder.Wait() })
	if _, err := io.ReadFull(output, make([]byte, 3)); err != nil {
		t.Fatalf("set lo up in a new network namespace: %v", err)
	}
	namespace, err := netns.OfProcess(holder.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { namespace.Close() })
	return namespace
}

// expect dials and wants the listener to accept just that.
func expect(t *testing.T, what string, listener net.Listener, dial func() (net.Conn, error)) {
	t.Helper()
	accepted := make(chan error, 1)
	go func() {
		connection, err := listener.Accept()
		if err == nil {
			_, err = connection.Write([]byte("hello"))
			connection.Close()
		}
		accepted <- err
	}()
	connection, err := dial()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer connection.Close()
	if text, err := io.ReadAll(connection); err != nil || string(text) != "hello" {
		t.Errorf("%s: %q, %v", what, text, err)
	}
	if err := <-accepted; err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
