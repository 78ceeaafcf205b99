package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// oldProgram is Debian's registry, of the package docker-registry.
const oldProgram = "docker-registry"

// oldFolder is where the old registry has its images, its configuration and its socket.
func oldFolder(s settings.Settings) string { return s.Path("registry-old") }

// oldConfiguration is the configuration file of the old registry.
const oldConfiguration = `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: false}}
http: {net: unix, addr: registry.sock, relativeurls: true, secret: of the sandbox}
auth:
  token: {realm: %q, service: %q, issuer: %q, rootcertbundle: %q}
`

// startOld starts the old registry as a child, until ctx ends, and gives a handler that leads to it and what waits for
// its end. Where it is not installed, the handler says so to whoever asks.
func startOld(ctx context.Context, config Config) (handler http.Handler, wait func()) {
	handler, wait, err := runOld(ctx, config)
	if err != nil {
		wait = func() {}
		config.Log.Warn("the old registry does not run", "cause", err)
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			discard(r)
			http.Error(w, fmt.Sprintf("the old registry does not run: %v", err), http.StatusNotImplemented)
		})
	}
	return recorded(config.Account, "registry-old", gate(config.Account, handler)), wait
}

// runOld is startOld for a machine that has it.
func runOld(ctx context.Context, config Config) (handler http.Handler, wait func(), err error) {
	path, err := exec.LookPath(oldProgram)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: install Debian's package %s", err, oldProgram)
	}
	s, folder := config.Settings, oldFolder(config.Settings)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, nil, err
	}
	text := fmt.Sprintf(oldConfiguration, folder, Realm(s), Service, Issuer, s.CACertificate())
	if err := os.WriteFile(filepath.Join(folder, "config.yml"), []byte(text), 0o644); err != nil {
		return nil, nil, err
	}
	socket := filepath.Join(folder, "registry.sock")
	if err := os.RemoveAll(socket); err != nil {
		return nil, nil, err
	}
	log, err := os.OpenFile(s.Log("registry-old"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, err
	}
	command := exec.CommandContext(ctx, path, "serve", "config.yml")
	command.Dir, command.Stdout, command.Stderr = folder, log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer log.Close()
		keepRunning(ctx, command, config)
	}()
	return proxyTo(socket), func() { <-ended }, nil
}

// keepRunning starts the child and waits for it. The kernel kills it when the thread that started it ends, so that
// thread is held for as long as the child lives.
func keepRunning(ctx context.Context, command *exec.Cmd, config Config) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := command.Run(); ctx.Err() == nil {
		config.Log.Error("the old registry ended", "cause", err, "log", config.Settings.Log("registry-old"))
	}
}

// proxyTo leads requests to a Unix socket, and waits for it while the child starts.
func proxyTo(socket string) http.Handler {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "registry"})
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		for {
			connection, err := new(net.Dialer).DialContext(limited, "unix", socket)
			if err == nil || limited.Err() != nil {
				return connection, err
			}
			select {
			case <-limited.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}}
	return proxy
}
