// Package sandboxtest gives tests a sandbox's services on an address of their own, without a cluster.
package sandboxtest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/serve"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Bench is a sandbox on which services can be started.
type Bench struct {
	Settings settings.Settings
	Account  *account.Account
	Listen   serve.Listen
	Log      *slog.Logger
	t        *testing.T
}

// reservedPort is taken on an address for as long as a test uses it, so that tests that run at once do not meet.
const reservedPort = 4

// New takes a free sandbox number and seeds an account.
func New(t *testing.T) *Bench {
	t.Helper()
	for number := 250; number > 200; number-- {
		s := settings.Settings{Number: number, State: t.TempDir(), Cache: t.TempDir()}
		reserved, err := net.Listen("tcp", s.HostPort(reservedPort))
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = reserved.Close() })
		opened, err := account.Open(s)
		if err != nil {
			t.Fatal(err)
		}
		return &Bench{Settings: s, Account: opened, Listen: listen(s), Log: slog.New(slog.DiscardHandler), t: t}
	}
	t.Fatal("no sandbox number from 201 to 250 is free")
	return nil
}

// listen opens ports on the machine alone.
func listen(s settings.Settings) serve.Listen {
	return func(port int) ([]net.Listener, error) {
		listener, err := net.Listen("tcp", s.HostPort(port))
		return []net.Listener{listener}, err
	}
}

// Start runs a service until the test ends, and waits until it is ready.
func (b *Bench) Start(name string, run func(ctx context.Context, ready func(string)) error) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() { ended <- run(ctx, func(string) { once.Do(func() { close(started) }) }) }()
	select {
	case <-started:
	case err := <-ended:
		cancel()
		b.t.Fatal(fmt.Errorf("%s did not start: %w", name, err))
	}
	b.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("%s: %v", name, err)
		}
	})
}
