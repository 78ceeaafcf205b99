package cluster

const kubeconfigTemplate = `apiVersion: v1
kind: Config
clusters:
- name: {context}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {context}
  context:
    cluster: {context}
    user: {user}
current-context: {context}
`

// auditPolicy records every request once it is answered (for a watch: once it has begun), without bodies.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// tokenReviewTemplate is in kubeconfig format, which is what the webhook token authenticator reads:
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#webhook-token-authentication
const tokenReviewTemplate = `apiVersion: v1
kind: Config
clusters:
- name: digitalocean
  cluster:
    server: {token-review}
contexts:
- name: webhook
  context:
    cluster: digitalocean
    user: apiserver
users:
- name: apiserver
current-context: webhook
`

// kubeletTemplate sets everything that would otherwise reach out of the state folder or the node's cgroup. Images and
// pods are never evicted for lack of disk: the disk is the developer's own.
const kubeletTemplate = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true, cacheTTL: 2s}
  x509: {clientCAFile: {authority}}
authorization: {mode: Webhook}
tlsCertFile: {state}/pki/kubelet.crt
tlsPrivateKeyFile: {state}/pki/kubelet.key
providerID: {provider-id}
clusterDomain: cluster.local
clusterDNS: [{dns}]
resolvConf: {state}/resolv.conf
cgroupDriver: cgroupfs
cgroupRoot: {cgroup}
failSwapOn: false
failCgroupV1: false
containerRuntimeEndpoint: unix://{state}/containerd.sock
imageServiceEndpoint: unix://{state}/containerd.sock
podLogsDir: {state}/pod-logs
volumePluginDir: {state}/volume-plugins
serializeImagePulls: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 1Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}
nodeStatusUpdateFrequency: 5s
nodeLeaseDurationSeconds: 20
rotateCertificates: false
`

// kubeProxyTemplate leaves every conntrack sysctl alone: they cannot be written from inside a network namespace.
const kubeProxyTemplate = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: {state}/kube-proxy.kubeconfig}
mode: iptables
iptables: {localhostNodePorts: true, minSyncPeriod: 100ms}
clusterCIDR: {pod-cidr}
bindAddress: 0.0.0.0
healthzBindAddress: 0.0.0.0:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`

// containerdTemplate is containerd 1.6's configuration. restrict_oom_score_adj lets pods start where root lacks
// CAP_SYS_RESOURCE, as in most containers and small virtual machines.
const containerdTemplate = `version = 2
root = "{state}/containerd/root"
state = "{state}/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{state}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs.d}"
`

const cniTemplate = `{
  "cniVersion": "0.4.0",
  "name": "sandbox",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
      "ipam": {
        "type": "host-local", "dataDir": "{state}/cni/ipam",
        "ranges": [[{"subnet": "{pod-cidr}"}]], "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

// resolvConf is what pods with dnsPolicy Default get: nothing answers names outside of the cluster.
const resolvConf = `nameserver {dns}
`

// coreDNSTemplate runs the sandbox's own binary as CoreDNS, in an image that holds nothing but the pause program. The
// cluster has no way to the internet, so a name outside of it does not exist (NXDOMAIN) instead of timing out.
const coreDNSTemplate = `apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- apiGroups: [""]
  resources: [endpoints, services, pods, namespaces]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects:
- {kind: ServiceAccount, name: coredns, namespace: kube-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
        errors
        health {
            lameduck 0s
        }
        ready
        kubernetes cluster.local in-addr.arpa ip6.arpa {
            pods insecure
            ttl 5
        }
        template ANY ANY {
            rcode NXDOMAIN
        }
        cache 5
    }
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  replicas: 1
  selector: {matchLabels: {k8s-app: kube-dns}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec:
      serviceAccountName: coredns
      priorityClassName: system-cluster-critical
      nodeSelector: {sandbox.test/real: "true"}
      tolerations: [{operator: Exists}]
      dnsPolicy: Default
      terminationGracePeriodSeconds: 1
      containers:
      - name: coredns
        image: {pause}
        imagePullPolicy: Never
        command: [/sandbox, component, coredns, -conf, /etc/coredns/Corefile]
        ports:
        - {containerPort: 53, name: dns, protocol: UDP}
        - {containerPort: 53, name: dns-tcp, protocol: TCP}
        readinessProbe: {httpGet: {path: /ready, port: 8181}, periodSeconds: 1}
        volumeMounts:
        - {name: binary, mountPath: /sandbox, readOnly: true}
        - {name: config, mountPath: /etc/coredns, readOnly: true}
      volumes:
      - {name: binary, hostPath: {path: "{binary}", type: File}}
      - {name: config, configMap: {name: coredns}}
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns, kubernetes.io/name: CoreDNS}}
spec:
  clusterIP: {dns}
  selector: {k8s-app: kube-dns}
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
`
