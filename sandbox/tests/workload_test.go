package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// webCommand makes the test binary a web server that says which pod it runs in.
const webCommand = "test-web-server"

// serveWeb answers every request with the pod's name, and with what the file in the query holds.
func serveWeb() {
	host, err := os.Hostname()
	if err != nil {
		panic(err)
	}
	panic(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", host, r.URL.Path)
	})))
}

// TestWorkloads runs real pods against everything that a DOKS cluster gives them.
func TestWorkloads(t *testing.T) {
	b := newBox(t, 198)
	b.run("up", "--parts", "cluster,api,registry,volumes,pull-secrets,cloud-controller,load-balancers,ingress,metrics,control")
	b.apply(webManifest)
	b.kubectl("-n", "shop", "rollout", "status", "deployment", "web", "--timeout=2m")
	t.Run("load balancers", func(t *testing.T) { b.at(t).testLoadBalancers() })
	t.Run("ingress and gateway", func(t *testing.T) { b.at(t).testIngress() })
	t.Run("volumes", func(t *testing.T) { b.at(t).testVolumes() })
	t.Run("metrics", func(t *testing.T) { b.at(t).testMetrics() })
	t.Run("pull secrets", func(t *testing.T) { b.at(t).testPullSecrets() })
}

// at is the same sandbox for a subtest.
func (b *box) at(t *testing.T) *box { return &box{b.Settings, t} }

// webManifest is three pods of the web server, run from the node's disk in an image that is always there.
const webManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: sandbox.local/pause:1
        imagePullPolicy: Never
        command: [/web, ` + webCommand + `]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: web, mountPath: /web, readOnly: true}]
      volumes: [{name: web, hostPath: {path: "{bin}/sandbox", type: File}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`

const balancerManifest = `
apiVersion: v1
kind: Service
metadata:
  name: regional
  namespace: shop
  annotations:
    service.beta.kubernetes.io/do-loadbalancer-type: REGIONAL
    service.beta.kubernetes.io/do-loadbalancer-name: shop-web
    service.beta.kubernetes.io/do-loadbalancer-protocol: http
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: network, namespace: shop}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`

// testLoadBalancers follows both types from the Service to the last refused connection.
func (b *box) testLoadBalancers() {
	b.apply(balancerManifest)
	addresses := []string{b.address("regional"), b.address("network")}
	for _, address := range addresses {
		pods := map[string]bool{}
		b.eventually("two pods answer at "+address, func() bool {
			if pod, err := get(address, "/", ""); err == nil {
				pods[strings.Fields(pod)[0]] = true
			}
			return len(pods) >= 2
		})
	}
	b.requireEvent("SyncLoadBalancerFailed", "load-balancer is currently being created")

	b.kubectl("-n", "shop", "scale", "deployment", "web", "--replicas=0")
	for _, address := range addresses {
		b.eventually("without pods "+address+" refuses", func() bool { return refused(address) })
	}
	b.kubectl("-n", "shop", "scale", "deployment", "web", "--replicas=2")
	for _, address := range addresses {
		b.eventually("with pods "+address+" answers again", func() bool { return answers(address) })
	}

	b.kubectl("-n", "shop", "annotate", "--overwrite", "service", "regional", "service.beta.kubernetes.io/do-loadbalancer-type=REGIONAL_NETWORK")
	b.eventually("the type is stamped back", func() bool {
		return strings.Contains(b.kubectl("-n", "shop", "get", "service", "regional", "-o", "json"), `do-loadbalancer-type": "REGIONAL"`)
	})

	b.kubectl("-n", "shop", "delete", "service", "regional", "network", "--wait")
	for _, address := range addresses {
		b.eventually("the address of a deleted Service is free: "+address, func() bool { return refused(address) })
	}
	if list := b.api(http.MethodGet, "/v2/load_balancers", ""); strings.Contains(list, "shop-web") {
		b.t.Errorf("the account still has the load balancer: %s", list)
	}
}

const routesManifest = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  rules:
  - host: shop.example.com
    http: {paths: [{path: /api, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: contour, namespace: projectcontour}]
  hostnames: [gateway.example.com]
  rules: [{backendRefs: [{name: web, port: 80}]}]
`

// testIngress reaches the pods through Envoy, by an Ingress without a class and by a route of the Gateway.
func (b *box) testIngress() {
	b.apply(routesManifest)
	address := b.kubectl("-n", "projectcontour", "get", "service", "envoy", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
	for _, request := range []struct{ host, path string }{{"shop.example.com", "/api"}, {"gateway.example.com", "/x"}} {
		b.eventually(request.host+" is served", func() bool {
			answer, err := get(address, request.path, request.host)
			return err == nil && strings.HasPrefix(answer, "web-") && strings.HasSuffix(answer, request.path)
		})
	}
	if answer, err := get(address, "/", "unknown.example.com"); err == nil {
		b.t.Errorf("an unknown host is served: %s", answer)
	}
}

const claimManifest = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: shop}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shared, namespace: shop}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: user, namespace: shop}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: user
    image: sandbox.local/pause:1
    imagePullPolicy: Never
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`

// testVolumes binds a claim of the default class, refuses one that block storage cannot serve, and deletes.
func (b *box) testVolumes() {
	b.apply(claimManifest)
	b.kubectl("-n", "shop", "wait", "pod", "user", "--for=condition=Ready", "--timeout=1m")
	volume := b.kubectl("-n", "shop", "get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}")
	if list := b.api(http.MethodGet, "/v2/volumes", ""); !strings.Contains(list, volume) {
		b.t.Errorf("the account has no volume %s: %s", volume, list)
	}
	b.requireEvent("ProvisioningFailed", "access mode ReadWriteMany is not supported")
	b.kubectl("-n", "shop", "delete", "pod/user", "pvc/data", "pvc/shared")
	b.eventually("the volume is gone", func() bool {
		_, err := os.Stat(b.Path("volumes", volume))
		return errors.Is(err, os.ErrNotExist) && !strings.Contains(b.api(http.MethodGet, "/v2/volumes", ""), volume)
	})
}

const autoscalerManifest = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 500m}}}]
`

// testMetrics lets an autoscaler see what the pods use.
func (b *box) testMetrics() {
	b.apply(autoscalerManifest)
	b.eventually("the autoscaler knows a CPU value", func() bool {
		return b.kubectl("-n", "shop", "get", "hpa", "web", "-o", "jsonpath={.status.currentMetrics[0].resource.current.averageValue}") != ""
	})
}

// puller is a pod that must pull the pushed image every time it starts, as the default service account of its namespace.
const puller = `
apiVersion: v1
kind: Pod
metadata: {name: "{name}", namespace: shop}
spec:
  terminationGracePeriodSeconds: 0
  imagePullSecrets: [{secrets}]
  containers:
  - name: web
    image: registry.digitalocean.com/todo-app-registry/empty:1
    imagePullPolicy: Always
    command: [/web, ` + webCommand + `]
    volumeMounts: [{name: web, mountPath: /web, readOnly: true}]
  volumes: [{name: web, hostPath: {path: "{bin}/sandbox", type: File}}]
`

// testPullSecrets pulls a private image with what the integration gives, and fails without it.
func (b *box) testPullSecrets() {
	b.pushEmptyImage()
	pod := func(name, secrets string) string {
		return strings.NewReplacer("{name}", name, "{secrets}", secrets).Replace(puller)
	}
	b.apply(pod("integrated", ""))
	b.kubectl("-n", "shop", "wait", "pod", "integrated", "--for=condition=Ready", "--timeout=1m")

	revoked := `{"auths":{"registry.digitalocean.com":{"auth":"ZG9wX3YxX2dvbmU6ZG9wX3YxX2dvbmU="}}}`
	b.kubectl("-n", "shop", "create", "secret", "generic", "spoiled", "--type=kubernetes.io/dockerconfigjson", "--from-literal=.dockerconfigjson="+revoked)
	b.apply(pod("spoiled", "{name: spoiled}"))
	b.requireEventOf("spoiled", "401 Unauthorized")

	b.testExpiredPullSecret(pod)

	b.api(http.MethodDelete, "/v2/kubernetes/registry", `{"cluster_uuids":["`+settings.ClusterID+`"]}`)
	b.eventually("the integration takes its Secret away", func() bool {
		return !strings.Contains(b.kubectl("-n", "shop", "get", "secrets,serviceaccounts", "-o", "json"), settings.RegistryName)
	})
	b.apply(pod("left-alone", ""))
	b.requireEventOf("left-alone", "401 Unauthorized")
	b.api(http.MethodPost, "/v2/kubernetes/registry", `{"cluster_uuids":["`+settings.ClusterID+`"]}`)
	b.kubectl("-n", "shop", "wait", "secret", settings.RegistryName, "--for=create", "--timeout=1m")
}

// testExpiredPullSecret pulls with a credential for as long as it lives, and no longer.
func (b *box) testExpiredPullSecret(pod func(name, secrets string) string) {
	path := "/v2/registries/" + settings.RegistryName + "/docker-credentials?read_write=false&expiry_seconds=600"
	b.kubectl("-n", "shop", "create", "secret", "generic", "expiring", "--type=kubernetes.io/dockerconfigjson",
		"--from-literal=.dockerconfigjson="+b.api(http.MethodGet, path, ""))
	b.apply(pod("in-time", "{name: expiring}"))
	b.kubectl("-n", "shop", "wait", "pod", "in-time", "--for=condition=Ready", "--timeout=1m")
	b.send(http.MethodPost, b.URL(settings.PortControl)+"/clock", `{"advance_seconds": 700}`)
	b.apply(pod("too-late", "{name: expiring}"))
	b.requireEventOf("too-late", "401 Unauthorized")
}

// pushEmptyImage pushes an image that holds nothing.
func (b *box) pushEmptyImage() {
	b.t.Helper()
	reference, err := name.ParseReference(b.HostPort(settings.PortRegistry)+"/"+settings.RegistryName+"/empty:1", name.Insecure)
	if err != nil {
		b.t.Fatal(err)
	}
	config, err := empty.Image.ConfigFile()
	if err != nil {
		b.t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	image, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		b.t.Fatal(err)
	}
	credential := &authn.Basic{Username: settings.Token, Password: settings.Token}
	if err := remote.Write(reference, image, remote.WithAuth(credential)); err != nil {
		b.t.Fatal(err)
	}
}

// kubectl runs kubectl, which must succeed.
func (b *box) kubectl(arguments ...string) string {
	b.t.Helper()
	return b.run(append([]string{"kubectl"}, arguments...)...)
}

// apply applies a manifest, with the folder of the sandbox's programs filled in.
func (b *box) apply(manifest string) {
	b.t.Helper()
	command := b.command("kubectl", "apply", "-f", "-")
	command.Stdin = strings.NewReader(strings.ReplaceAll(manifest, "{bin}", b.Path("bin")))
	if output, err := command.CombinedOutput(); err != nil {
		b.t.Fatalf("kubectl apply: %v\n%s", err, output)
	}
}

// address waits for a Service's address.
func (b *box) address(service string) string {
	b.t.Helper()
	var address string
	b.eventually("Service "+service+" has an address", func() bool {
		address = b.kubectl("-n", "shop", "get", "service", service, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		return address != ""
	})
	return address
}

// requireEvent waits for an event with the reason whose message holds the words.
func (b *box) requireEvent(reason, words string) {
	b.t.Helper()
	b.eventually("an event "+reason+" says "+words, func() bool {
		return strings.Contains(b.kubectl("-n", "shop", "get", "events", "--field-selector=reason="+reason, "-o", "json"), words)
	})
}

// requireEventOf waits for an event of a pod whose message holds the words.
func (b *box) requireEventOf(pod, words string) {
	b.t.Helper()
	b.eventually("an event of "+pod+" says "+words, func() bool {
		return strings.Contains(b.kubectl("-n", "shop", "get", "events", "--field-selector=involvedObject.name="+pod, "-o", "json"), words)
	})
}

// api asks the emulated DigitalOcean API with the seeded token.
func (b *box) api(method, path, body string) string {
	b.t.Helper()
	return b.send(method, b.URL(settings.PortDigitalOcean)+path, body)
}

// send sends JSON, with the token of the seed, and gives the answer; a refusal is a failure.
func (b *box) send(method, url, body string) string {
	b.t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+settings.Token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		b.t.Fatalf("%s %s answered %s: %s", method, url, response.Status, answer)
	}
	var compact bytes.Buffer
	if json.Compact(&compact, answer) != nil {
		return string(answer) // an empty answer is no JSON
	}
	return compact.String()
}

// get asks an address on port 80, on a connection of its own. An answer other than 200 is an error.
func get(address, path, host string) (string, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return "", err
	}
	request.Host, request.Close = host, true
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, answer)
	}
	return string(answer), nil
}

func answers(address string) bool {
	_, err := get(address, "/", "")
	return err == nil
}

func refused(address string) bool {
	_, err := get(address, "/", "")
	return errors.Is(err, syscall.ECONNREFUSED)
}
