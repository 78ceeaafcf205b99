// Package settings says where a sandbox lives: its address, its ports, its folders and its names.
//
// A sandbox has a number. Everything it serves listens on the loopback address 127.77.NUMBER.1, with the same ports
// for every sandbox, so that several run side by side and no port is ever searched for. The same address is served
// inside the sandbox's network namespaces too (see package netns): a configuration that names it is right everywhere.
package settings

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The ports on the sandbox's address. They never change: tests and people rely on them.
const (
	PortDigitalOcean      = 8000 // DigitalOcean API, http
	PortDigitalOceanHTTPS = 8443 // the same, https with the sandbox's own certificate authority
	PortGitHub            = 8001 // GitHub API
	PortControl           = 8002 // the sandbox's own control API: faults, clock, request logs, reset
	PortKubernetes        = 6443 // the API server of the seeded cluster
	PortRegistry          = 5000 // distribution v3, what registry.digitalocean.com leads to
	PortRegistryOld       = 5001 // Debian's docker-registry 2.8 behind the same token service
	PortHub               = 5002 // what docker.io leads to: anonymous pulls, pushes only by the sandbox
	PortFaultRegistry     = 5010 // the fault proxy in front of PortRegistry
	PortFaultRegistryOld  = 5011 // the fault proxy in front of PortRegistryOld
	PortFaultDigitalOcean = 8010 // the fault proxy in front of PortDigitalOcean
	PortFaultGitHub       = 8011 // the fault proxy in front of PortGitHub
	PortFaultKubernetes   = 6453 // the fault proxy (connections only) in front of PortKubernetes
)

// The seeded account. The token holds every scope; it is worth nothing outside of a sandbox.
const (
	Token        = "dop_v1_5ea0000000000000000000000000000000000000000000000000000000000000"
	ClusterName  = "todo-prod"
	ClusterID    = "5ea00000-0000-4000-8000-000000000001"
	VPCID        = "5ea00000-0000-4000-8000-0000000000ff"
	RegistryName = "todo-app-registry"
	Region       = "nyc1"
	GitHubToken  = "ghs_sandbox00000000000000000000000000000"
	GitHubRepo   = "acme/todo"
	PullRequest  = 42
	RegistryHost = "registry.digitalocean.com"
)

// Inside the cluster's network namespace.
const (
	NodeName      = "sandbox-node"
	NodeIP        = "10.66.0.2"
	PodCIDR       = "10.244.0.0/24"
	ServiceCIDR   = "10.96.0.0/16"
	ClusterDNS    = "10.96.0.10"
	DropletID     = 1001
	FirstBalancer = 10 // load balancers get 127.77.NUMBER.10 and up
)

// Settings is one sandbox.
type Settings struct {
	Number int    // 1 to 250
	State  string // everything that this sandbox writes, absolute
	Cache  string // built programs and base images, shared by all sandboxes, absolute
}

// FromEnvironment reads SANDBOX_NUMBER (default 1), SANDBOX_STATE (default ~/.local/state/seaway-sandbox/NUMBER)
// and SANDBOX_CACHE (default ~/.cache/seaway-sandbox).
func FromEnvironment() (Settings, error) {
	number := 1
	if text := os.Getenv("SANDBOX_NUMBER"); text != "" {
		parsed, err := strconv.Atoi(text)
		if err != nil || parsed < 1 || parsed > 250 {
			return Settings{}, fmt.Errorf("SANDBOX_NUMBER is %q: give a number from 1 to 250", text)
		}
		number = parsed
	}
	home, err := os.UserHomeDir()
	if err != nil && (os.Getenv("SANDBOX_STATE") == "" || os.Getenv("SANDBOX_CACHE") == "") {
		return Settings{}, errors.New("no home folder: set HOME, or SANDBOX_STATE and SANDBOX_CACHE")
	}
	s := Settings{
		Number: number,
		State:  filepath.Join(home, ".local", "state", "seaway-sandbox", strconv.Itoa(number)),
		Cache:  filepath.Join(home, ".cache", "seaway-sandbox"),
	}
	if folder := os.Getenv("SANDBOX_STATE"); folder != "" {
		s.State = folder
	}
	if folder := os.Getenv("SANDBOX_CACHE"); folder != "" {
		s.Cache = folder
	}
	if s.State, err = filepath.Abs(s.State); err != nil {
		return Settings{}, err
	}
	s.Cache, err = filepath.Abs(s.Cache)
	return s, err
}

// Address is the loopback address of this sandbox.
func (s Settings) Address() string { return fmt.Sprintf("127.77.%d.1", s.Number) }

// BalancerAddress is the address of the load balancer with this index, counted from 0.
func (s Settings) BalancerAddress(index int) string {
	return fmt.Sprintf("127.77.%d.%d", s.Number, FirstBalancer+index)
}

// HostPort is the sandbox's address with a port.
func (s Settings) HostPort(port int) string { return fmt.Sprintf("%s:%d", s.Address(), port) }

// URL is the http address of a port.
func (s Settings) URL(port int) string { return "http://" + s.HostPort(port) }

// Path joins names to the state folder.
func (s Settings) Path(names ...string) string {
	return filepath.Join(append([]string{s.State}, names...)...)
}

// Log is the log file of a part.
func (s Settings) Log(part string) string { return s.Path("logs", part+".log") }

// AdminKubeconfig is a kubeconfig with a client certificate of the group system:masters, for the sandbox's own parts.
func (s Settings) AdminKubeconfig() string { return s.Path("kubernetes", "admin.kubeconfig") }

// UserKubeconfig is what `sandbox env` exports as KUBECONFIG.
func (s Settings) UserKubeconfig() string { return s.Path("kubeconfig") }

// RegistryConfig is the folder of hosts.toml files (containerd's `config_path` layout) that leads registry names here.
func (s Settings) RegistryConfig() string { return s.Path("certs.d") }

// DockerSocket is the socket of the sandbox's Docker Engine, that of Debian.
func (s Settings) DockerSocket() string { return s.EngineSocket("engine") }

// EngineSocket is the socket of the Docker Engine that is this part.
func (s Settings) EngineSocket(part string) string { return s.Path(part, "docker.sock") }

// BuildkitSocket is the socket of the sandbox's buildkitd.
func (s Settings) BuildkitSocket() string { return s.Path("buildkit", "buildkitd.sock") }

// CACertificate is the sandbox's own certificate authority, PEM; CAKey its key.
func (s Settings) CACertificate() string { return s.Path("pki", "ca.crt") }

// CAKey is the key of CACertificate.
func (s Settings) CAKey() string { return s.Path("pki", "ca.key") }

// Cgroup is the name of the cgroup, below the root of every hierarchy, that holds all of this sandbox's containers.
func (s Settings) Cgroup() string { return fmt.Sprintf("seaway-sandbox-%d", s.Number) }
