// Package buildkit is a BuildKit daemon of the sandbox's own, beside the Docker Engine: only buildkitd exports OCI
// layouts, and builders in continuous integration talk to it directly. It runs in an enclosure with runc.
package buildkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/enclosure"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// grace is how long buildkitd may take to stop; its databases survive a kill.
const grace = time.Second

// Config is what Run needs.
type Config struct {
	Settings  settings.Settings
	Log       *slog.Logger
	Program   string               // buildkitd, absolute
	Enclosure *enclosure.Enclosure // from Open; nil: Run opens one. Run closes it in either case
}

// parts is the enclosure's configuration; buildkitd has the second cable of its sandbox.
func parts(s settings.Settings, program string) enclosure.Config {
	return enclosure.Config{
		Settings: s, Name: "buildkit", Slot: 1,
		Command: []string{program, "--config", configFile(s)},
	}
}

// configFile is buildkitd's configuration.
func configFile(s settings.Settings) string { return s.Path("buildkit", "buildkitd.toml") }

// Open makes buildkitd's namespaces, so that others can listen in them before it starts.
func Open(s settings.Settings, program string) (*enclosure.Enclosure, error) {
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("buildkitd is not built: `sandbox/build.sh` makes it: %w", err)
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return nil, errors.New("runc is not installed: `apt-get install --no-install-recommends runc`")
	}
	return enclosure.Open(parts(s, program))
}

// Cleanup removes what a killed buildkitd left on the machine. Its cache stays in the state folder.
func Cleanup(s settings.Settings) error { return enclosure.Cleanup(parts(s, "")) }

// Run serves BuildKit on Settings.BuildkitSocket until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	box, s := config.Enclosure, config.Settings
	if box == nil {
		var err error
		if box, err = Open(s, config.Program); err != nil {
			return err
		}
	}
	if err := os.WriteFile(configFile(s), []byte(configuration(s, box)), 0o644); err != nil {
		return errors.Join(err, box.Close(0))
	}
	config.Log.Info("start buildkitd", "socket", s.BuildkitSocket(), "address", box.Cable.Inside)
	return box.Serve(ctx, grace, func(ctx context.Context) error { return knock(ctx, s.BuildkitSocket()) },
		func() { ready("unix://" + s.BuildkitSocket()) })
}

// configuration is the text of buildkitd.toml. Containers share the enclosure's network: it is nobody else's, and a
// bridge of their own would need CNI configuration for nothing.
func configuration(s settings.Settings, box *enclosure.Enclosure) string {
	return fmt.Sprintf(`root = %[1]q
[grpc]
  address = [%[2]q]
[worker.oci]
  enabled = true
  networkMode = "host"
  snapshotter = "overlayfs"
  defaultCgroupParent = %[3]q
[worker.containerd]
  enabled = false
`, s.Path("buildkit", "data"), "unix://"+s.BuildkitSocket(), box.CgroupParent())
}

// knock asks whether somebody listens on the socket: buildkitd opens it when its worker is ready.
func knock(ctx context.Context, socket string) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return connection.Close()
}
