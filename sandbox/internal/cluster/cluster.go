// Package cluster runs a real single-node Kubernetes: the stock programs, in mount, network, process, host name and IPC
// namespaces of their own. Nothing of it reaches the machine but its state folder and its cgroups, and all of it ends
// with the process that called Run.
package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
	"github.com/seaway-deploy/seaway/sandbox/internal/netns"
	"github.com/seaway-deploy/seaway/sandbox/internal/pki"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Config says what cluster to run.
type Config struct {
	Settings settings.Settings
	Log      *slog.Logger
	Binary   string     // this program, at a path that stays the same file for as long as the cluster runs
	Started  func(Node) // called once the namespaces exist, long before ready; may be nil
}

// Node is a handle on the running cluster.
type Node struct {
	Network    *netns.Namespace // where the node's address, the Services and the node ports are
	PID        int              // process 1 of the node, as the machine numbers it
	Address    string           // of the node, inside Network
	Kubeconfig string           // of an administrator; its server is served on the machine and inside Network

	namespaces *namespaces
}

// Keep runs a program inside the node for as long as the node lives, and starts it again when it ends. Its output goes
// to the log of its name.
func (n Node) Keep(name string, command ...string) error {
	return n.namespaces.order([]program{{
		Name: name, Path: command[0], Args: command, Log: n.namespaces.config.Settings.Log(name),
	}})
}

// What the seeded node pool is called; the emulated account answers the same.
const (
	NodePool   = "workers"
	NodePoolID = "5ea00000-0000-4000-8000-000000000b00"
	NodeID     = "5ea00000-0000-4000-8000-000000001001"
	NodeSize   = "s-4vcpu-8gb"
	Version    = "1.34.4-do.0"
)

// startTime bounds a start. A quiet machine needs 6 seconds; a busy one may need many times that.
const startTime = 3 * time.Minute

// Run starts the cluster and serves until ctx ends. It calls ready when the node is Ready and answers names.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if err := config.prepare(); err != nil {
		return err
	}
	node, err := config.open()
	if err != nil {
		return err
	}
	defer node.close()
	started := make(chan error, 1)
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	go func() { started <- config.start(starting, node) }()
	return config.serve(ctx, node, started, ready)
}

// serve waits for the start to end, then for ctx or the node to end.
func (c Config) serve(ctx context.Context, node *namespaces, started <-chan error, ready func(string)) error {
	for {
		select {
		case err := <-started:
			if err != nil && ctx.Err() == nil {
				return err
			}
			if err == nil {
				ready(fmt.Sprintf("Kubernetes %s at https://%s", Version, c.Settings.HostPort(settings.PortKubernetes)))
			}
			started = nil
		case <-ctx.Done():
			return nil
		case <-node.ended:
			return fmt.Errorf("the node's process 1 ended: %w", node.err)
		}
	}
}

// prepare writes everything that the programs read.
func (c Config) prepare() error {
	if err := CheckMachine(); err != nil {
		return err
	}
	if length := len(c.path("containerd.sock.ttrpc")); length > 107 {
		return fmt.Errorf("the state folder %s is too deep: a socket's path may have 107 letters, %d are needed; set SANDBOX_STATE",
			c.Settings.State, length)
	}
	for _, folder := range []string{c.path("volume-plugins"), c.path("tmp"), c.Settings.Path("logs"), c.Settings.RegistryConfig()} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	authority, err := pki.Load(c.Settings)
	if err != nil {
		return err
	}
	if err := c.writePKI(authority); err != nil {
		return err
	}
	if err := c.writeConfiguration(); err != nil {
		return err
	}
	return makeCgroup(c.Settings.Cgroup())
}

// start brings the programs up in the order in which they can, and waits until the cluster is of use.
func (c Config) start(ctx context.Context, node *namespaces) error {
	if err := node.wait(ctx); err != nil {
		return err
	}
	forwarding, err := forward(ctx, c.Settings.HostPort(settings.PortKubernetes), node.network)
	if err != nil {
		return err
	}
	node.forwarding = forwarding
	if c.Started != nil {
		c.Started(Node{node.network, node.process.Pid, settings.NodeIP, c.Settings.AdminKubeconfig(), node})
	}
	if err := node.order(c.storePrograms()); err != nil {
		return err
	}
	imported := make(chan error, 1)
	go func() { imported <- c.importPause(ctx) }()
	administrator, err := kube.New(c.Settings.AdminKubeconfig(), "sandbox")
	if err != nil {
		return err
	}
	client := client{administrator}
	if err := client.waitForAPI(ctx); err != nil {
		return node.explain("kube-apiserver", err)
	}
	if err := node.order(c.controlPrograms()); err != nil {
		return err
	}
	if err := client.Apply(ctx, []byte(c.coreDNS())); err != nil {
		return fmt.Errorf("apply CoreDNS: %w", err)
	}
	if err := <-imported; err != nil {
		return node.explain("containerd", err)
	}
	if err := client.waitForNode(ctx); err != nil {
		return node.explain("kubelet", err)
	}
	if err := client.waitForDNS(ctx); err != nil {
		return node.explain("kubelet", err)
	}
	return nil
}

func (c Config) coreDNS() string {
	return fill(coreDNSTemplate, map[string]string{"pause": pauseImage, "binary": c.Binary, "dns": settings.ClusterDNS})
}
