package pki

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// TestLoadAtOnce: whoever asks first makes the authority, all others get the same one.
func TestLoadAtOnce(t *testing.T) {
	s := settings.Settings{Number: 1, State: t.TempDir()}
	loaded := make([]*Authority, 8)
	var all sync.WaitGroup
	for i := range loaded {
		all.Go(func() {
			var err error
			if loaded[i], err = Load(s); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, other := range loaded {
		if other == nil || !other.Certificate.Equal(loaded[0].Certificate) {
			t.Fatal("two callers got different authorities")
		}
	}
}

// TestIssue: a leaf is accepted for its hosts by whoever trusts the authority, and for no other host.
func TestIssue(t *testing.T) {
	authority, err := Load(settings.Settings{Number: 1, State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := authority.Issue(Leaf{Name: "api", Hosts: []string{"127.77.1.1", "api.example"}})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority.PEM) {
		t.Fatal("the authority's PEM holds no certificate")
	}
	for host, accepted := range map[string]bool{"127.77.1.1": true, "api.example": true, "127.77.1.2": false} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
		if (err == nil) != accepted {
			t.Errorf("%s: accepted %v, want %v (%v)", host, err == nil, accepted, err)
		}
	}
}
