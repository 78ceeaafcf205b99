package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/seaway-deploy/seaway/sandbox/internal/cleanup"
	"github.com/seaway-deploy/seaway/sandbox/internal/netns"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// namespaces is the node's process 1 as seen from outside.
type namespaces struct {
	process    *os.Process
	network    *netns.Namespace
	forwarding net.Listener
	ended      chan struct{}
	err        error // how process 1 ended; valid once ended is closed

	config   Config
	orders   io.WriteCloser
	prepared chan error // one value: how the preparation went

	ordering sync.Mutex // apart from mu: a full pipe of orders must not stop the news

	mu    sync.Mutex
	exits map[string][]string // how often and how each program ended
}

// open starts process 1 in fresh namespaces and sends it its first order.
func (c Config) open() (*namespaces, error) {
	covers, err := writeSysctlCovers(c.path("sysctl"))
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(c.Settings.Log("node"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(c.Binary, InitCommand)
	command.Env = c.environment()
	command.Stderr = log
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL, // with process 1 the kernel ends every process of the node
		Setsid:     true,
	}
	orders, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	tidings, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	n := &namespaces{config: c, orders: orders, ended: make(chan struct{}), prepared: make(chan error, 1), exits: map[string][]string{}}
	if err := n.launch(command, tidings); err != nil {
		return nil, err
	}
	return n, n.send(world{State: c.Settings.State, Hostname: settings.NodeName, NodeIP: settings.NodeIP, Sysctls: covers})
}

func (c Config) environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
		"TMPDIR=" + c.path("tmp"), "SANDBOX_STATE=" + c.Settings.State, cleanup.Mark,
		fmt.Sprintf("SANDBOX_NUMBER=%d", c.Settings.Number), // tells people and tests whose program it is
	}
}

// launch starts the process from a thread that lives as long as the process: Pdeathsig means the parent's thread.
func (n *namespaces) launch(command *exec.Cmd, tidings io.Reader) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := command.Start(); err != nil {
			started <- fmt.Errorf("start the node in its own namespaces: %w", err)
			return
		}
		n.process = command.Process
		network, err := netns.OfProcess(command.Process.Pid)
		n.network = network
		started <- err
		n.listen(tidings)
		n.err = command.Wait()
		if n.err == nil {
			n.err = fmt.Errorf("see %s", n.config.Settings.Log("node"))
		}
		close(n.ended)
	}()
	return <-started
}

// listen reads the news until process 1 ends.
func (n *namespaces) listen(tidings io.Reader) {
	lines := bufio.NewScanner(tidings)
	for lines.Scan() {
		var item news
		if err := json.Unmarshal(lines.Bytes(), &item); err != nil {
			n.config.Log.Error("unreadable news from the node", "line", lines.Text())
			continue
		}
		n.note(item)
	}
}

func (n *namespaces) note(item news) {
	switch item.Kind {
	case newsWorld:
		n.prepared <- nil
	case newsStarted:
		n.config.Log.Info("started", "program", item.Name, "pid", item.PID)
	case newsFailed:
		n.config.Log.Error("failed", "program", item.Name, "cause", item.Detail)
		if item.Name == "" {
			n.prepared <- fmt.Errorf("prepare the node's namespaces: %s", item.Detail)
		}
	case newsExited:
		n.config.Log.Warn("ended, starting again", "program", item.Name, "how", item.Detail)
		n.mu.Lock()
		n.exits[item.Name] = append(n.exits[item.Name], item.Detail)
		n.mu.Unlock()
	}
}

// wait waits until the namespaces are prepared.
func (n *namespaces) wait(ctx context.Context) error {
	select {
	case err := <-n.prepared:
		return err
	case <-n.ended:
		return n.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *namespaces) send(order any) error {
	line, err := json.Marshal(order)
	if err != nil {
		return err
	}
	n.ordering.Lock()
	defer n.ordering.Unlock()
	_, err = n.orders.Write(append(line, '\n'))
	return err
}

func (n *namespaces) order(programs []program) error {
	for _, p := range programs {
		if err := n.send(p); err != nil {
			return fmt.Errorf("order %s: %w", p.Name, err)
		}
	}
	return nil
}

// explain adds to an error how often a program ended and where its log is.
func (n *namespaces) explain(name string, err error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if ends := n.exits[name]; len(ends) > 0 {
		return fmt.Errorf("%w; %s ended %d times, last by %s: see %s", err, name, len(ends), ends[len(ends)-1], n.config.Settings.Log(name))
	}
	return fmt.Errorf("%w: see %s", err, n.config.Settings.Log(name))
}

// close ends every process of the node and waits until they are gone.
func (n *namespaces) close() {
	if n.forwarding != nil {
		n.forwarding.Close()
	}
	if err := n.process.Kill(); err != nil && !strings.Contains(err.Error(), "already finished") {
		n.config.Log.Error("kill the node", "cause", err)
	}
	<-n.ended
	n.network.Close()
}
