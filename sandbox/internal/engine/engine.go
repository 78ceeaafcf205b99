// Package engine is a Docker Engine of the sandbox's own: dockerd in an enclosure, its socket in the state folder. Any other
// engine on the machine is left alone, and nothing of this one is left when it stops but its images and build cache.
//
//	box, err := engine.Debian.Open(settings)        // namespaces and network; box.Namespace() can be listened in
//	err = engine.Debian.Run(ctx, engine.Config{…, Enclosure: box}, ready)
//	err = engine.Cleanup(settings)                  // of all kinds, after a kill, or to be sure
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/enclosure"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// grace is how long dockerd may take to stop its containers before it is killed. Its databases survive a kill.
const grace = 1500 * time.Millisecond

// Kind is one of the engines that a sandbox can have, each with an enclosure and images of its own.
type Kind struct {
	Name string // of the part and of its folder
	slot int    // which cable of its sandbox it has
	// programs are what it brings along, by the names under which they call each other, and the names under which they are
	// built. Without any it is the machine's own dockerd.
	programs map[string]string
	storage  string          // the graph driver; empty where the engine chooses
	features map[string]bool // of daemon.json
}

// The engines.
var (
	// Debian is Debian's: Docker 20.10, which keeps layers without the blobs that they came from.
	Debian = Kind{Name: "engine", slot: 0, storage: "overlay2", features: map[string]bool{"buildkit": true}}
	// Engine29 is Docker 29 as it is where it was never older: images are in containerd's store.
	Engine29 = Kind{Name: "engine29", slot: 2, programs: moby, features: map[string]bool{timeNamespaces: false}}
	// Layers29 is Docker 29 as it is where it was upgraded: images are in a store of its own, as layers.
	Layers29 = Kind{
		Name: "layers29", slot: 3, programs: moby, storage: "overlay2",
		features: map[string]bool{"containerd-snapshotter": false, timeNamespaces: false},
	}
)

// timeNamespaces are what Docker 29 gives to containers, and Debian's runc 1.1 does not know.
const timeNamespaces = "time-namespaces"

// moby are the programs of Docker 29, built from the module in sandbox/moby. runc is the machine's.
var moby = map[string]string{
	"dockerd": "moby-dockerd", "containerd": "moby-containerd", "containerd-shim-runc-v2": "moby-shim",
}

// Programs are the names under which build.sh leaves what engines bring along.
func Programs() []string { return slices.Sorted(maps.Values(moby)) }

// Config is what Run needs.
type Config struct {
	Settings  settings.Settings
	Log       *slog.Logger
	Enclosure *enclosure.Enclosure // from Open; nil: Run opens one. Run closes it in either case
}

// parts is the enclosure's configuration.
func (k Kind) parts(s settings.Settings) enclosure.Config {
	command := []string{"dockerd", "--config-file", k.daemonFile(s)}
	if len(k.programs) > 0 { // dockerd starts containerd, and that its shim, by their names
		command = append([]string{"env", "PATH=" + s.Path(k.Name, "bin") + ":" + os.Getenv("PATH")}, command...)
	}
	return enclosure.Config{Settings: s, Name: k.Name, Slot: k.slot, Command: command}
}

// daemonFile is dockerd's configuration.
func (k Kind) daemonFile(s settings.Settings) string { return s.Path(k.Name, "daemon.json") }

// Open makes the engine's namespaces, so that others can listen in them before the engine starts.
func (k Kind) Open(s settings.Settings) (*enclosure.Enclosure, error) {
	if err := k.gather(s); err != nil {
		return nil, err
	}
	return enclosure.Open(k.parts(s))
}

// gather gives the engine's own programs the names under which they look for each other. Those of other versions may be on
// the machine beside.
func (k Kind) gather(s settings.Settings) error {
	if len(k.programs) == 0 {
		if _, err := exec.LookPath("dockerd"); err != nil {
			return errors.New("dockerd is not installed: `apt-get install --no-install-recommends docker.io`")
		}
		return nil
	}
	folder := s.Path(k.Name, "bin")
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755)); err != nil {
		return err
	}
	for name, built := range k.programs {
		program := s.Path("bin", built)
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("docker 29 is not built: `SANDBOX_MOBY=1 sandbox/build.sh` makes it: %w", err)
		}
		if err := os.Symlink(program, filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}

// Cleanup removes what killed engines left on the machine. Their images stay in the state folder.
func Cleanup(s settings.Settings) error {
	var problems []error
	for _, kind := range []Kind{Debian, Engine29, Layers29} {
		problems = append(problems, enclosure.Cleanup(kind.parts(s)))
	}
	return errors.Join(problems...)
}

// Run serves the engine on its socket until ctx ends.
func (k Kind) Run(ctx context.Context, config Config, ready func(detail string)) error {
	box, s := config.Enclosure, config.Settings
	if box == nil {
		var err error
		if box, err = k.Open(s); err != nil {
			return err
		}
	}
	if err := k.writeDaemonFile(s, box); err != nil {
		return errors.Join(err, box.Close(0))
	}
	socket := s.EngineSocket(k.Name)
	config.Log.Info("start dockerd", "socket", socket, "address", box.Cable.Inside)
	return box.Serve(ctx, grace, func(ctx context.Context) error { return ping(ctx, socket) },
		func() { ready("unix://" + socket) })
}

// daemon is the part of dockerd's daemon.json that is used here.
type daemon struct {
	Hosts           []string        `json:"hosts"`
	DataRoot        string          `json:"data-root"`
	ExecRoot        string          `json:"exec-root"`
	PIDFile         string          `json:"pidfile"`
	TrustKey        string          `json:"deprecated-key-path,omitempty"` // otherwise written into /etc/docker of the machine
	Bridge          string          `json:"bip"`
	MTU             int             `json:"mtu"`
	UserlandProxy   bool            `json:"userland-proxy"`
	CgroupParent    string          `json:"cgroup-parent"`
	ExecOptions     []string        `json:"exec-opts"`
	Storage         string          `json:"storage-driver,omitempty"`
	ShutdownTimeout int             `json:"shutdown-timeout"` // seconds
	LogLevel        string          `json:"log-level"`
	Features        map[string]bool `json:"features,omitempty"`
}

// writeDaemonFile writes dockerd's configuration for this enclosure.
func (k Kind) writeDaemonFile(s settings.Settings, box *enclosure.Enclosure) error {
	bridge, err := bridgeAddress(s.Number)
	if err != nil {
		return err
	}
	values := daemon{
		Hosts:           []string{"unix://" + s.EngineSocket(k.Name)},
		DataRoot:        s.Path(k.Name, "data"),
		ExecRoot:        "/run/docker", // the enclosure's own /run
		PIDFile:         "/run/docker.pid",
		Bridge:          bridge.String(),
		MTU:             box.Cable.MTU,
		CgroupParent:    box.CgroupParent(),
		ExecOptions:     []string{"native.cgroupdriver=cgroupfs"}, // works without systemd, on cgroup v1 and v2
		Storage:         k.storage,
		ShutdownTimeout: 1,
		LogLevel:        "warn",
		Features:        k.features,
	}
	if len(k.programs) == 0 {
		values.TrustKey = s.Path(k.Name, "key.json") // Docker 29 has none, and refuses the word
	}
	text, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(k.daemonFile(s), append(text, '\n'), 0o644)
}

// bridgeAddress is the address of docker0. The bridge is the enclosure's own, but a subnet that the machine has a route
// to could not be reached by containers.
func bridgeAddress(number int) (netip.Prefix, error) {
	var candidates []netip.Prefix
	for _, second := range []byte{29, 30, 31, 28, 27} {
		candidates = append(candidates, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, second, byte(number), 0}), 24))
	}
	subnet, err := enclosure.FirstFree(candidates)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("choose the engine's bridge subnet: %w", err)
	}
	return netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits()), nil
}

// ping asks the engine whether it serves.
func ping(ctx context.Context, socket string) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/_ping", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the engine answers %s", answer.Status)
	}
	return nil
}
