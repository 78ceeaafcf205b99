package cluster

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/seaway-deploy/seaway/sandbox/internal/pki"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// path is a file below the cluster's own folder.
func (c Config) path(names ...string) string {
	return c.Settings.Path(append([]string{"kubernetes"}, names...)...)
}

func (c Config) certificate(name string) string { return c.path("pki", name+".crt") }
func (c Config) key(name string) string         { return c.path("pki", name+".key") }
func (c Config) kubeconfig(name string) string  { return c.path(name + ".kubeconfig") }

// leaves are the cluster's certificates by file name.
func (c Config) leaves() map[string]pki.Leaf {
	masters, nodes := []string{"system:masters"}, []string{"system:nodes"}
	return map[string]pki.Leaf{
		"apiserver": {Name: "kube-apiserver", Hosts: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local", APIName,
			c.Settings.Address(), "127.0.0.1", settings.NodeIP, serviceIP,
		}},
		"apiserver-kubelet-client": {Name: "kube-apiserver-kubelet-client", Organizations: masters},
		"front-proxy-client":       {Name: "front-proxy-client"},
		"kubelet": {Name: "system:node:" + settings.NodeName, Organizations: nodes,
			Hosts: []string{settings.NodeName, settings.NodeIP, "127.0.0.1"}},
		"kube-controller-manager": {Name: "system:kube-controller-manager"},
		"kube-scheduler":          {Name: "system:kube-scheduler"},
		"kube-proxy":              {Name: "system:kube-proxy"},
		"admin":                   {Name: "sandbox:admin", Organizations: masters},
	}
}

// serviceIP is the address of the Service kubernetes.default: the first of settings.ServiceCIDR.
const serviceIP = "10.96.0.1"

// APIName is the name that DigitalOcean gives the API server of the seeded cluster.
const APIName = settings.ClusterID + ".k8s.ondigitalocean.com"

// ContextName is the context's name in kubeconfigs, as DigitalOcean writes it.
const ContextName = "do-" + settings.Region + "-" + settings.ClusterName

// writePKI issues the cluster's certificates and writes the kubeconfigs of those that are clients.
func (c Config) writePKI(authority *pki.Authority) error {
	for name, leaf := range c.leaves() {
		certificate, key, err := authority.Issue(leaf)
		if err != nil {
			return err
		}
		if err := writeAll(map[string][]byte{c.certificate(name): certificate, c.key(name): key}); err != nil {
			return err
		}
	}
	private, public, err := pki.KeyPair()
	if err != nil {
		return err
	}
	if err := writeAll(map[string][]byte{c.path("pki", "sa.key"): private, c.path("pki", "sa.pub"): public}); err != nil {
		return err
	}
	for _, name := range []string{"kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		if err := c.writeKubeconfig(c.kubeconfig(name), "https://127.0.0.1:6443", authority, name); err != nil {
			return err
		}
	}
	outside := "https://" + c.Settings.HostPort(settings.PortKubernetes)
	if err := c.writeKubeconfig(c.Settings.AdminKubeconfig(), outside, authority, "admin"); err != nil {
		return err
	}
	return c.writeKubeconfig(c.Settings.UserKubeconfig(), outside, authority, "admin")
}

// writeKubeconfig writes a self-contained kubeconfig: it can be copied anywhere.
func (c Config) writeKubeconfig(file, server string, authority *pki.Authority, client string) error {
	certificate, err := os.ReadFile(c.certificate(client))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(c.key(client))
	if err != nil {
		return err
	}
	encode := base64.StdEncoding.EncodeToString
	return writeFile(file, fill(kubeconfigTemplate, map[string]string{
		"server": server, "authority": encode(authority.PEM), "certificate": encode(certificate), "key": encode(key),
		"context": ContextName, "user": ContextName + "-admin",
	}))
}

// writeConfiguration writes every configuration file of the node.
func (c Config) writeConfiguration() error {
	values := map[string]string{
		"state": c.path(), "node-ip": settings.NodeIP, "pod-cidr": settings.PodCIDR, "dns": settings.ClusterDNS,
		"cgroup": "/" + c.Settings.Cgroup(), "authority": c.Settings.CACertificate(),
		"certs.d": c.Settings.RegistryConfig(), "pause": pauseImage,
		"provider-id":  fmt.Sprintf("digitalocean://%d", settings.DropletID),
		"token-review": c.Settings.URL(settings.PortDigitalOcean) + TokenReviewPath,
	}
	for name, text := range map[string]string{
		"audit.yaml": auditPolicy, "token-review.kubeconfig": tokenReviewTemplate, "kubelet.yaml": kubeletTemplate,
		"kube-proxy.yaml": kubeProxyTemplate, "containerd.toml": containerdTemplate,
		"cni/net.d/10-sandbox.conflist": cniTemplate, "resolv.conf": resolvConf,
	} {
		if err := writeFile(c.path(name), fill(text, values)); err != nil {
			return err
		}
	}
	return nil
}

// TokenReviewPath is where the emulated DigitalOcean API answers the API server's webhook token authenticator.
const TokenReviewPath = "/internal/token-review"

// fill replaces every {name} by its value.
func fill(text string, values map[string]string) string {
	pairs := make([]string, 0, 2*len(values))
	for name, value := range values {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func writeFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o600)
}

func writeAll(files map[string][]byte) error {
	for name, content := range files {
		if err := writeFile(name, string(content)); err != nil {
			return err
		}
	}
	return nil
}
