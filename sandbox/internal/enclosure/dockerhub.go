package enclosure

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/seaway-deploy/seaway/sandbox/internal/pki"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// hubNames are the hosts of Docker Hub. Inside an enclosure they are the sandbox's stand-in: what that does not have is
// not found, on a machine with a way to the real one too.
var hubNames = []string{"docker.io", "index.docker.io", "registry-1.docker.io"}

// machineBundle is where Debian keeps the certificate authorities that programs trust.
const machineBundle = "/etc/ssl/certs/ca-certificates.crt"

// leadHubHere writes the files that make a daemon take the sandbox's address for Docker Hub: names to addresses, and
// the authorities of the machine together with the sandbox's own.
func leadHubHere(config Config) error {
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		return err
	}
	line := fmt.Sprintf("\n%s %s\n", config.Settings.Address(), strings.Join(hubNames, " "))
	if err := os.WriteFile(config.folder("hosts"), append([]byte(line), hosts...), 0o644); err != nil {
		return err
	}
	if _, err := pki.Load(config.Settings); err != nil { // makes it if it is not there
		return err
	}
	own, err := os.ReadFile(config.Settings.CACertificate())
	if err != nil {
		return err
	}
	common, err := os.ReadFile(machineBundle)
	if err != nil && !os.IsNotExist(err) { // without the package there is nothing to add to
		return err
	}
	return os.WriteFile(config.folder("authorities.crt"), append(own, common...), 0o644)
}

// openHub answers https for Docker Hub's names inside the namespace and hands the requests to the stand-in, which
// speaks http on the machine.
func (e *Enclosure) openHub() error {
	authority, err := pki.Load(e.config.Settings)
	if err != nil {
		return err
	}
	certificate, key, err := authority.Issue(pki.Leaf{Name: hubNames[0], Hosts: hubNames})
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	plain, err := e.namespace.Listen("tcp", net.JoinHostPort(e.config.Settings.Address(), "443"))
	if err != nil {
		return fmt.Errorf("listen for Docker Hub: %w", err)
	}
	e.hub = plain
	// No HTTP/2: the bytes behind the encryption go on as they are.
	go forward(tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}),
		e.config.Settings.HostPort(settings.PortHub))
	return nil
}

// forward connects whoever comes to the listener with the target, until the listener is closed.
func forward(listener net.Listener, target string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close() // the stand-in is not there yet: the client sees a cut connection
				return
			}
			join(client, server)
		}()
	}
}

// join copies between two connections and closes both when one side has ended.
func join(a, b net.Conn) {
	var once sync.Once
	end := func() { _, _ = a.Close(), b.Close() }
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // an error is an end like any other
			once.Do(end)
		}()
	}
}
