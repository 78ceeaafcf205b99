package cluster

import (
	"fmt"
	"strings"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// component orders one of the programs that this binary links.
func (c Config) component(name string, flags ...string) program {
	return program{
		Name: name, Path: c.Binary, Log: c.Settings.Log(name),
		Args: append([]string{c.Binary, "component", name}, flags...),
	}
}

// storePrograms start at once: they need nothing of one another, and the API server waits for etcd by itself.
func (c Config) storePrograms() []program {
	return []program{c.etcd(), c.containerd(), c.apiServer()}
}

// controlPrograms start when the API server is ready; before that they would give up.
func (c Config) controlPrograms() []program {
	return []program{c.controllerManager(), c.scheduler(), c.kubelet(), c.kubeProxy()}
}

// etcd may forget its last writes when the machine dies: a sandbox never outlives that.
func (c Config) etcd() program {
	client, peer := "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	return c.component("etcd",
		"--name=sandbox", "--data-dir="+c.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=sandbox="+peer)
}

func (c Config) containerd() program {
	return program{
		Name: "containerd", Path: containerdProgram, Log: c.Settings.Log("containerd"),
		Args: []string{containerdProgram, "--config", c.path("containerd.toml")},
	}
}

func (c Config) apiServer() program {
	authority := c.Settings.CACertificate()
	return c.component("kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", fmt.Sprintf("--secure-port=%d", settings.PortKubernetes),
		"--advertise-address="+settings.NodeIP, "--endpoint-reconciler-type=lease",
		"--tls-cert-file="+c.certificate("apiserver"), "--tls-private-key-file="+c.key("apiserver"),
		"--client-ca-file="+authority,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+c.path("pki", "sa.pub"),
		"--service-account-signing-key-file="+c.path("pki", "sa.key"),
		"--service-cluster-ip-range="+settings.ServiceCIDR,
		"--kubelet-client-certificate="+c.certificate("apiserver-kubelet-client"),
		"--kubelet-client-key="+c.key("apiserver-kubelet-client"),
		"--kubelet-certificate-authority="+authority, "--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file="+authority, "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file="+c.certificate("front-proxy-client"),
		"--proxy-client-key-file="+c.key("front-proxy-client"),
		"--authentication-token-webhook-config-file="+c.path("token-review.kubeconfig"),
		"--authentication-token-webhook-version=v1", "--authentication-token-webhook-cache-ttl=1s",
		"--audit-policy-file="+c.path("audit.yaml"), "--audit-log-path="+c.AuditLog(),
		"--audit-log-maxsize=200", "--audit-log-maxbackup=1")
}

// AuditLog is the API server's audit log: one JSON event a line.
func (c Config) AuditLog() string { return c.Settings.Log("audit") }

// fastClient lets controllers make their first objects at once: the default of 20 requests a second delays the first
// pods by seconds.
var fastClient = []string{"--kube-api-qps=500", "--kube-api-burst=1000"}

// controller orders a program that asks the API server who may ask it.
func (c Config) controller(name string, flags ...string) program {
	file := c.kubeconfig(name)
	common := []string{"--kubeconfig=" + file, "--authentication-kubeconfig=" + file, "--authorization-kubeconfig=" + file,
		"--bind-address=127.0.0.1", "--leader-elect=false"}
	return c.component(name, append(append(common, fastClient...), flags...)...)
}

func (c Config) controllerManager() program {
	return c.controller("kube-controller-manager",
		"--use-service-account-credentials=true", "--root-ca-file="+c.Settings.CACertificate(),
		"--service-account-private-key-file="+c.path("pki", "sa.key"),
		"--cluster-signing-cert-file="+c.Settings.CACertificate(), "--cluster-signing-key-file="+c.Settings.CAKey(),
		// CNI hands out the pods' addresses, and no cloud deletes this node.
		"--controllers=*,-nodeipam,-cloud-node-lifecycle",
		"--flex-volume-plugin-dir="+c.path("volume-plugins"),
		"--horizontal-pod-autoscaler-sync-period=5s", "--node-monitor-period=2s", "--pvclaimbinder-sync-period=1s")
}

func (c Config) scheduler() program { return c.controller("kube-scheduler") }

func (c Config) kubelet() program {
	return c.component("kubelet",
		"--config="+c.path("kubelet.yaml"), "--kubeconfig="+c.kubeconfig("kubelet"),
		"--root-dir="+c.path("kubelet"), "--cert-dir="+c.path("kubelet", "pki"),
		"--hostname-override="+settings.NodeName, "--node-ip="+settings.NodeIP,
		"--node-labels="+strings.Join(nodeLabels(), ","))
}

// nodeLabels are those of a DOKS node of the seeded pool, and the sandbox's own mark for a node that runs real pods.
func nodeLabels() []string {
	return []string{
		"doks.digitalocean.com/node-pool=" + NodePool, "doks.digitalocean.com/node-pool-id=" + NodePoolID,
		"doks.digitalocean.com/node-id=" + NodeID, "doks.digitalocean.com/version=" + Version,
		"node.kubernetes.io/instance-type=" + NodeSize, "topology.kubernetes.io/region=" + settings.Region,
		"sandbox.test/real=true",
	}
}

func (c Config) kubeProxy() program {
	return c.component("kube-proxy", "--config="+c.path("kube-proxy.yaml"), "--hostname-override="+settings.NodeName)
}
