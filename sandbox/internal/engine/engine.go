// Package engine is a Docker Engine of the sandbox's own: Debian's dockerd in an enclosure, its socket in the state
// folder. Any other engine on the machine is left alone, and nothing of this one is left when it stops but its images
// and build cache.
//
//	box, err := engine.Open(settings)               // namespaces and network; box.Namespace() can be listened in
//	err = engine.Run(ctx, engine.Config{…, Enclosure: box}, ready)
//	err = engine.Cleanup(settings)                  // after a kill, or to be sure
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/enclosure"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// grace is how long dockerd may take to stop its containers before it is killed. Its databases survive a kill.
const grace = 1500 * time.Millisecond

// Config is what Run needs.
type Config struct {
	Settings  settings.Settings
	Log       *slog.Logger
	Enclosure *enclosure.Enclosure // from Open; nil: Run opens one. Run closes it in either case
}

// parts is the enclosure's configuration; the engine has the first cable of its sandbox.
func parts(s settings.Settings) enclosure.Config {
	return enclosure.Config{
		Settings: s, Name: "engine", Slot: 0,
		Command: []string{"dockerd", "--config-file", daemonFile(s)},
	}
}

// daemonFile is dockerd's configuration.
func daemonFile(s settings.Settings) string { return s.Path("engine", "daemon.json") }

// Open makes the engine's namespaces, so that others can listen in them before the engine starts.
func Open(s settings.Settings) (*enclosure.Enclosure, error) {
	if _, err := exec.LookPath("dockerd"); err != nil {
		return nil, errors.New("dockerd is not installed: `apt-get install --no-install-recommends docker.io`")
	}
	return enclosure.Open(parts(s))
}

// Cleanup removes what a killed engine left on the machine. Its images stay in the state folder.
func Cleanup(s settings.Settings) error { return enclosure.Cleanup(parts(s)) }

// Run serves the engine on Settings.DockerSocket until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	box, s := config.Enclosure, config.Settings
	if box == nil {
		var err error
		if box, err = Open(s); err != nil {
			return err
		}
	}
	if err := writeDaemonFile(s, box); err != nil {
		return errors.Join(err, box.Close(0))
	}
	config.Log.Info("start dockerd", "socket", s.DockerSocket(), "address", box.Cable.Inside)
	return box.Serve(ctx, grace, func(ctx context.Context) error { return ping(ctx, s.DockerSocket()) },
		func() { ready("unix://" + s.DockerSocket()) })
}

// daemon is the part of dockerd's daemon.json that is used here.
type daemon struct {
	Hosts           []string `json:"hosts"`
	DataRoot        string   `json:"data-root"`
	ExecRoot        string   `json:"exec-root"`
	PIDFile         string   `json:"pidfile"`
	TrustKey        string   `json:"deprecated-key-path"` // otherwise written into /etc/docker of the machine
	Bridge          string   `json:"bip"`
	MTU             int      `json:"mtu"`
	UserlandProxy   bool     `json:"userland-proxy"`
	CgroupParent    string   `json:"cgroup-parent"`
	ExecOptions     []string `json:"exec-opts"`
	Storage         string   `json:"storage-driver"`
	ShutdownTimeout int      `json:"shutdown-timeout"` // seconds
	LogLevel        string   `json:"log-level"`
	Features        struct {
		BuildKit bool `json:"buildkit"`
	} `json:"features"`
}

// writeDaemonFile writes dockerd's configuration for this enclosure.
func writeDaemonFile(s settings.Settings, box *enclosure.Enclosure) error {
	bridge, err := bridgeAddress(s.Number)
	if err != nil {
		return err
	}
	values := daemon{
		Hosts:           []string{"unix://" + s.DockerSocket()},
		DataRoot:        s.Path("engine", "data"),
		ExecRoot:        "/run/docker", // the enclosure's own /run
		PIDFile:         "/run/docker.pid",
		TrustKey:        s.Path("engine", "key.json"),
		Bridge:          bridge.String(),
		MTU:             box.Cable.MTU,
		CgroupParent:    box.CgroupParent(),
		ExecOptions:     []string{"native.cgroupdriver=cgroupfs"}, // works without systemd, on cgroup v1 and v2
		Storage:         "overlay2",
		ShutdownTimeout: 1,
		LogLevel:        "warn",
	}
	values.Features.BuildKit = true
	text, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(daemonFile(s), append(text, '\n'), 0o644)
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
