// Package digitalocean is the DigitalOcean API over an emulated account, with godo's own types on the wire, and the
// token service of the account's container registry.
//
// The table in routes.go lists every route. What DigitalOcean has and the sandbox has not is answered with 501, a route
// that nobody knows with 404 and a note in the request log, so that a test can tell the two from a missing object.
package digitalocean

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/pki"
	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
	"github.com/seaway-deploy/seaway/sandbox/internal/serve"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Creator starts a real cluster for a `POST /v2/kubernetes/clusters`. The account already lists the cluster as
// provisioning; Creator says with account.UpdateCluster when it runs, and where.
type Creator func(cluster godo.KubernetesCluster) error

// Config is what the API needs.
type Config struct {
	Settings  settings.Settings
	Account   *account.Account
	Listen    serve.Listen
	Log       *slog.Logger
	ClusterCA string  // file with the certificate authority of the clusters' API servers; default: the sandbox's own
	Creator   Creator // nil: clusters cannot be created
}

// Run serves the API on http and on https until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	s := config.Settings
	authority, err := pki.Load(s)
	if err != nil {
		return err
	}
	handler, err := New(config)
	if err != nil {
		return err
	}
	plain, err := config.Listen(settings.PortDigitalOcean)
	if err != nil {
		return err
	}
	certificate, err := issue(authority, pki.Leaf{
		Name: "DigitalOcean API", Hosts: []string{s.Address(), "127.0.0.1", "localhost", "api.digitalocean.com"},
	})
	if err != nil {
		return err
	}
	secure, err := config.Listen(settings.PortDigitalOceanHTTPS)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- serve.HTTP(ctx, plain, handler, config.Log) }()
	go func() { ended <- serve.HTTP(ctx, withTLS(secure, certificate), handler, config.Log) }()
	ready(s.URL(settings.PortDigitalOcean))
	first := <-ended
	cancel() // one of them ended: so does the other
	return errors.Join(first, <-ended)
}

// issue makes a certificate with its key for use in this process.
func issue(authority *pki.Authority, leaf pki.Leaf) (tls.Certificate, error) {
	certificate, key, err := authority.Issue(leaf)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificate, key)
}

// withTLS puts TLS in front of listeners. Only HTTP/1.1 is offered: the server takes connections as they come.
func withTLS(listeners []net.Listener, certificate tls.Certificate) []net.Listener {
	secure := make([]net.Listener, len(listeners))
	for i, listener := range listeners {
		secure[i] = tls.NewListener(listener, &tls.Config{
			Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
		})
	}
	return secure
}

// server is the API over one account.
type server struct {
	settings  settings.Settings
	account   *account.Account
	log       *slog.Logger
	content   *registry.Content
	signer    *signer
	clusterCA string
	creator   Creator

	collecting sync.Mutex // held while garbage is collected
}

// New gives the API as a handler.
func New(config Config) (http.Handler, error) {
	authority, err := pki.Load(config.Settings)
	if err != nil {
		return nil, err
	}
	content, err := registry.OpenContent(config.Settings)
	if err != nil {
		return nil, err
	}
	signer, err := newSigner(authority)
	if err != nil {
		return nil, err
	}
	s := &server{
		settings: config.Settings, account: config.Account, log: config.Log, content: content, signer: signer,
		clusterCA: config.ClusterCA, creator: config.Creator,
	}
	if s.clusterCA == "" {
		s.clusterCA = config.Settings.CACertificate()
	}
	return s.router(), nil
}
