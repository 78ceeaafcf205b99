// Package faults stands in front of the sandbox's services as proxies of their own, on ports of their own, and breaks
// what passes as its rules say: slow, cut off, refused, overloaded, silent. Without a rule everything passes unchanged
// and is counted.
package faults

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/serve"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Config is what the proxies need.
type Config struct {
	Settings settings.Settings
	Rules    *Rules
	Listen   serve.Listen
	Log      *slog.Logger
}

// proxy is one port that leads to another.
type proxy struct {
	Config
	target string
	from   int // the port that clients use
	to     int // the port of the service
}

// Run serves all proxies until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	proxies := []proxy{
		{config, Registry, settings.PortFaultRegistry, settings.PortRegistry},
		{config, RegistryOld, settings.PortFaultRegistryOld, settings.PortRegistryOld},
		{config, DigitalOcean, settings.PortFaultDigitalOcean, settings.PortDigitalOcean},
		{config, GitHub, settings.PortFaultGitHub, settings.PortGitHub},
		{config, Kubernetes, settings.PortFaultKubernetes, settings.PortKubernetes},
	}
	ended := make(chan error, len(proxies))
	listening := make(chan struct{}, len(proxies))
	for _, p := range proxies {
		go func() { ended <- p.run(ctx, func() { listening <- struct{}{} }) }()
	}
	for range proxies {
		select {
		case <-listening:
		case err := <-ended:
			return err
		}
	}
	ready(config.Settings.URL(settings.PortFaultRegistry))
	var failures []error
	for range proxies {
		failures = append(failures, <-ended)
		cancel() // one of them ended: so do the others
	}
	return errors.Join(failures...)
}

// run serves one proxy, and is away for as long as a rule tells it to refuse.
func (p proxy) run(ctx context.Context, listening func()) error {
	for {
		listeners, err := p.Listen(p.from)
		if err != nil {
			return err
		}
		listening()
		listening = func() {}
		away, err := p.serve(ctx, listeners)
		if err != nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(away):
		}
	}
}

// serve serves until ctx ends or a rule refuses; then all listeners and connections are closed.
func (p proxy) serve(ctx context.Context, listeners []net.Listener) (away time.Duration, err error) {
	open, hangUp := context.WithCancel(ctx)
	defer hangUp()
	ended := make(chan error, 1)
	go func() {
		if p.target == Kubernetes {
			ended <- p.serveConnections(open, listeners)
			return
		}
		ended <- serve.HTTP(open, listeners, p.handler(open), p.Log)
	}()
	select {
	case err := <-ended:
		return 0, err
	case away = <-p.Rules.refuses[p.target]:
		hangUp()
	case <-ctx.Done():
	}
	return away, <-ended
}

// fail sends a status in place of an answer, in a form that the clients of all targets can read.
func (p proxy) fail(w http.ResponseWriter, rule *Rule) {
	if rule.RetryAfter > 0 {
		w.Header().Set("Retry-After", itoa(rule.RetryAfter))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(rule.Status)
	_, _ = w.Write([]byte(`{"id":"fault","message":"the sandbox's fault proxy answers ` + itoa(rule.Status) +
		`","errors":[{"code":"UNAVAILABLE","message":"fault proxy"}]}`))
}
