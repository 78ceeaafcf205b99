package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/baseline"
	"github.com/seaway-deploy/seaway/sandbox/internal/cluster"
	"github.com/seaway-deploy/seaway/sandbox/internal/enclosure"
	"github.com/seaway-deploy/seaway/sandbox/internal/faults"
	"github.com/seaway-deploy/seaway/sandbox/internal/github"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// sandbox is what the parts share.
type sandbox struct {
	settings  settings.Settings
	account   *account.Account
	github    *github.Server
	rules     *faults.Rules
	listeners *Listeners
	log       *slog.Logger

	mu       sync.Mutex
	node     cluster.Node       // valid once the part "cluster" has started its namespaces
	baseline *baseline.Baseline // valid once the part "baseline" is ready
}

func newSandbox(s settings.Settings) (*sandbox, error) {
	seeded, err := account.Open(s)
	if err != nil {
		return nil, fmt.Errorf("open the account: %w", err)
	}
	return &sandbox{
		settings: s, account: seeded, github: github.New(seeded), rules: faults.NewRules(),
		listeners: NewListeners(s), log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, nil
}

// started keeps the handle on the cluster, and serves every port inside it from now on.
func (s *sandbox) started(node cluster.Node) {
	s.mu.Lock()
	s.node = node
	s.mu.Unlock()
	if err := s.listeners.Add(node.Network); err != nil {
		s.log.Error("listen inside the cluster", "cause", err)
	}
}

// dialNode connects to an address inside the cluster's network.
func (s *sandbox) dialNode(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	inside := s.node.Network
	s.mu.Unlock()
	if inside == nil {
		return nil, fmt.Errorf("connect to %s inside the cluster: the cluster does not run", address)
	}
	return inside.DialContext(ctx, network, address)
}

// listenNode listens on an address inside the cluster's network.
func (s *sandbox) listenNode(network, address string) (net.Listener, error) {
	s.mu.Lock()
	inside := s.node.Network
	s.mu.Unlock()
	if inside == nil {
		return nil, fmt.Errorf("listen at %s inside the cluster: the cluster does not run", address)
	}
	return inside.Listen(network, address)
}

// enclosed serves every port inside a daemon's namespaces before the daemon starts.
func (s *sandbox) enclosed(open func() (*enclosure.Enclosure, error)) (*enclosure.Enclosure, error) {
	box, err := open()
	if err != nil {
		return nil, err
	}
	return box, s.listeners.Add(box.Namespace())
}

// logger writes to the log file of a part.
func (s *sandbox) logger(part string) (*slog.Logger, error) {
	file, err := os.OpenFile(s.settings.Log(part), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return slog.New(slog.NewTextHandler(file, nil)), nil // open for as long as the supervisor lives
}
