package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/seaway-deploy/seaway/sandbox/internal/pki"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

func newConfig(t *testing.T) Config {
	t.Helper()
	return Config{Settings: settings.Settings{Number: 7, State: t.TempDir()}, Binary: "/bin/sandbox"}
}

// TestConfigurationIsComplete: no placeholder survives in any file.
func TestConfigurationIsComplete(t *testing.T) {
	c := newConfig(t)
	if err := c.writeConfiguration(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kubelet.yaml", "kube-proxy.yaml", "containerd.toml", "token-review.kubeconfig", "cni/net.d/10-sandbox.conflist"} {
		text, err := os.ReadFile(c.path(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, placeholder := range []string{"{state}", "{pause}", "{pod-cidr}", "{dns}", "{cgroup}", "{authority}", "{certs.d}", "{provider-id}", "{token-review}"} {
			if strings.Contains(string(text), placeholder) {
				t.Errorf("%s still holds %s", name, placeholder)
			}
		}
	}
	review, err := os.ReadFile(c.path("token-review.kubeconfig"))
	if err != nil || !strings.Contains(string(review), "http://127.77.7.1:8000/internal/token-review") {
		t.Errorf("token reviews are asked for elsewhere (%v):\n%s", err, review)
	}
}

// TestCertificates: the API server may serve every name that clients use, and the administrator is one.
func TestCertificates(t *testing.T) {
	c := newConfig(t)
	authority, err := pki.Load(c.Settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.writePKI(authority); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(c.certificate("apiserver"), c.key("apiserver"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	for _, host := range []string{"127.77.7.1", "127.0.0.1", settings.NodeIP, "10.96.0.1", "kubernetes.default.svc", APIName} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.Settings.UserKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://127.77.7.1:6443" {
		t.Errorf("the kubeconfig leads to %s", config.Host)
	}
	client, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(client.Leaf.Subject.Organization, "system:masters") {
		t.Errorf("the kubeconfig's user is in %v", client.Leaf.Subject.Organization)
	}
}
