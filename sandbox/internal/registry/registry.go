// Package registry serves real container registries: distribution v3 under the name registry.digitalocean.com, Debian's
// docker-registry 2.8 beside it for the behaviour of old registries, and one more that stands for Docker Hub.
//
// The first two ask the account's token service (package digitalocean) who may pull and push. No registry is patched:
// what the sandbox adds stands in front of it as a handler.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/token" // the token authentication of the configuration
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/sirupsen/logrus"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/pki"
	"github.com/seaway-deploy/seaway/sandbox/internal/serve"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// What the token service and the registries agree on.
const (
	Service = settings.RegistryHost // the `service` of challenges and tokens
	Issuer  = "digitalocean-sandbox"
)

// Config is what the registries need.
type Config struct {
	Settings settings.Settings
	Account  *account.Account
	Listen   serve.Listen
	Log      *slog.Logger
}

// Realm is the address of the token service.
func Realm(s settings.Settings) string {
	return s.URL(settings.PortDigitalOcean) + "/v2/registry/auth"
}

// Run serves the three registries until ctx ends. It writes the configuration that leads clients here first.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	if _, err := pki.Load(config.Settings); err != nil { // the registries read its certificate
		return err
	}
	if err := WriteClientConfig(config.Settings); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := logToFile(config.Settings); err != nil {
		return err
	}
	current, err := New(ctx, config)
	if err != nil {
		return err
	}
	hub, err := NewHub(ctx, config)
	if err != nil {
		return err
	}
	old, waitForOld := startOld(ctx, config)
	defer waitForOld()
	defer cancel() // before the wait
	handlers := map[int]http.Handler{
		settings.PortRegistry:    current,
		settings.PortRegistryOld: old,
		settings.PortHub:         hub,
	}
	ended := make(chan error, len(handlers))
	for port, handler := range handlers {
		listeners, err := config.Listen(port)
		if err != nil {
			return err
		}
		go func() { ended <- serve.HTTP(ctx, listeners, handler, config.Log) }()
	}
	ready(config.Settings.URL(settings.PortRegistry))
	var failures []error
	for range handlers {
		failures = append(failures, <-ended)
		cancel() // one of them ended: so do the others
	}
	return errors.Join(failures...)
}

// logToFile sends the log of the embedded registries, which is one for the whole program, to a file of its own.
func logToFile(s settings.Settings) error {
	path := s.Log("registry")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	logrus.SetOutput(file)
	return nil
}

// New is what stands for registry.digitalocean.com.
func New(ctx context.Context, config Config) (http.Handler, error) {
	s := config.Settings
	settings := baseConfiguration(StorageFolder(s))
	settings.Auth = configuration.Auth{"token": {
		"realm": Realm(s), "service": Service, "issuer": Issuer, "rootcertbundle": s.CACertificate(),
	}}
	app, err := newApp(ctx, settings)
	if err != nil {
		return nil, err
	}
	return recorded(config.Account, "registry", gate(config.Account, app)), nil
}

// StorageFolder is where the images of registry.digitalocean.com are.
func StorageFolder(s settings.Settings) string { return s.Path("registry") }

// baseConfiguration is what the embedded registries have in common. Locations are relative, so that a client that came
// through a proxy goes on through it.
func baseConfiguration(folder string) *configuration.Configuration {
	config := &configuration.Configuration{
		Version: "0.1",
		Storage: configuration.Storage{
			"filesystem":  {"rootdirectory": folder},
			"delete":      {"enabled": true},
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	config.HTTP.RelativeURLs = true
	config.HTTP.Secret = "of the sandbox" // signs the state of uploads; the same after a restart
	config.Catalog.MaxEntries = 1000
	return config
}

// newApp makes an embedded registry. It panics on a wrong configuration, which is turned into an error here.
func newApp(ctx context.Context, config *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if failure := recover(); failure != nil {
			err = fmt.Errorf("start the registry: %v", failure)
		}
	}()
	return handlers.NewApp(ctx, config), nil
}

// Wipe removes all images of registry.digitalocean.com and of the old registry. They may be serving meanwhile.
func Wipe(s settings.Settings) error {
	return errors.Join(
		os.RemoveAll(filepath.Join(StorageFolder(s), "docker")),
		os.RemoveAll(filepath.Join(oldFolder(s), "docker")),
	)
}

// discard reads a body to its end, so that a client that is still sending gets the answer.
func discard(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
