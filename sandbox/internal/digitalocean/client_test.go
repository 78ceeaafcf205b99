package digitalocean_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// TestSeed: the official client sees the account as it is described.
func TestSeed(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	client := b.godo(settings.Token)
	clusters, _, err := client.Kubernetes.List(ctx, nil)
	if err != nil || len(clusters) != 1 || clusters[0].Name != settings.ClusterName || clusters[0].Status.State != "running" {
		t.Fatalf("clusters: %v, %v", clusters, err)
	}
	registries, _, err := client.Registries.List(ctx)
	if err != nil || len(registries) != 1 || registries[0].Name != settings.RegistryName {
		t.Fatalf("registries: %v, %v", registries, err)
	}
	droplet, _, err := client.Droplets.Get(ctx, settings.DropletID)
	if err != nil || droplet.Name != settings.NodeName {
		t.Fatalf("droplet: %v, %v", droplet, err)
	}
	options, _, err := client.Kubernetes.GetOptions(ctx)
	if err != nil || len(options.Versions) == 0 {
		t.Fatalf("options: %v, %v", options, err)
	}
	if _, response, err := client.Kubernetes.Get(ctx, "nope"); response.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown cluster: %v", err)
	}
}

// TestRepositories: what is pushed through the token service is listed, and can be deleted.
func TestRepositories(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.startRegistry()
	digest := b.push("web/backend:v1")
	client := b.godo(settings.Token)
	repositories, _, err := client.Registry.ListRepositoriesV2(ctx, settings.RegistryName, nil)
	if err != nil || len(repositories) != 1 || repositories[0].Name != "web/backend" || repositories[0].LatestManifest.Digest != digest {
		t.Fatalf("repositories: %v, %v", repositories, err)
	}
	tags, _, err := client.Registries.ListRepositoryTags(ctx, settings.RegistryName, "web/backend", nil)
	if err != nil || len(tags) != 1 || tags[0].Tag != "v1" || tags[0].ManifestDigest != digest {
		t.Fatalf("tags: %v, %v", tags, err)
	}
	if _, err := client.Registries.DeleteTag(ctx, settings.RegistryName, "web/backend", "v1"); err != nil {
		t.Fatal(err)
	}
	manifests, _, err := client.Registries.ListRepositoryManifests(ctx, settings.RegistryName, "web/backend", nil)
	if err != nil || len(manifests) != 1 || len(manifests[0].Tags) != 0 {
		t.Fatalf("manifests after the tag is gone: %v, %v", manifests, err)
	}
	if _, err := client.Registries.DeleteManifest(ctx, settings.RegistryName, "web/backend", digest); err != nil {
		t.Fatal(err)
	}
	if left, _, err := client.Registry.ListRepositoriesV2(ctx, settings.RegistryName, nil); err != nil || len(left) != 0 {
		t.Errorf("repositories after the manifest is gone: %v, %v", left, err)
	}
}

// TestLoadBalancer: it is new without an address, active with one when its time has come, and gives the address back.
func TestLoadBalancer(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	client := b.godo(settings.Token)
	changes := b.Account.WatchBalancers(ctx)
	<-changes // none yet
	request := &godo.LoadBalancerRequest{
		Name: "web", Region: "nyc1", Type: "REGIONAL", Tags: []string{"k8s:" + settings.ClusterID},
		ForwardingRules: []godo.ForwardingRule{{EntryProtocol: "http", EntryPort: 80, TargetProtocol: "http", TargetPort: 30080}},
	}
	made, response, err := client.LoadBalancers.Create(ctx, request)
	if err != nil || response.StatusCode != http.StatusAccepted || made.Status != "new" || made.IP != "" {
		t.Fatalf("created: %v, %v", made, err)
	}
	if seen := <-changes; len(seen) != 1 || seen[0].Status != "new" {
		t.Fatalf("the watcher saw %v", seen)
	}
	if err := b.Account.Advance(time.Hour); err != nil {
		t.Fatal(err)
	}
	if seen := <-changes; seen[0].Status != "active" || seen[0].IP != b.Settings.BalancerAddress(0) {
		t.Fatalf("the watcher saw %v", seen)
	}
	request.ForwardingRules[0].TargetPort = 30081
	if changed, _, err := client.LoadBalancers.Update(ctx, made.ID, request); err != nil || changed.IP == "" || changed.ForwardingRules[0].TargetPort != 30081 {
		t.Fatalf("updated: %v, %v", changed, err)
	}
	associated, _, err := client.Kubernetes.ListAssociatedResourcesForDeletion(ctx, settings.ClusterID)
	if err != nil || len(associated.LoadBalancers) != 1 {
		t.Errorf("associated: %v, %v", associated, err)
	}
	if _, err := client.LoadBalancers.Delete(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if all, _, err := client.LoadBalancers.List(ctx, nil); err != nil || len(all) != 0 {
		t.Errorf("after the deletion: %v, %v", all, err)
	}
}

// TestLoadBalancerTrouble: the quota refuses, and the switch makes errored ones.
func TestLoadBalancerTrouble(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	client := b.godo(settings.Token)
	err := b.Account.Switch(func(s *account.Switches) error {
		s.BalancerQuota, s.BalancerErrored, s.BalancerDelay = 1, true, 0
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rules := []godo.ForwardingRule{{EntryProtocol: "tcp", EntryPort: 80, TargetProtocol: "tcp", TargetPort: 80}}
	made, _, err := client.LoadBalancers.Create(ctx, &godo.LoadBalancerRequest{Name: "one", Region: "nyc1", ForwardingRules: rules})
	if err != nil || made.Status != "errored" {
		t.Fatalf("made %v, %v", made, err)
	}
	_, response, err := client.LoadBalancers.Create(ctx, &godo.LoadBalancerRequest{Name: "two", Region: "nyc1", ForwardingRules: rules})
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("above the quota: %v", err)
	}
}

// TestClusterCredentials: each call mints another token, which opens the cluster until it expires or is revoked.
func TestClusterCredentials(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	client := b.godo(settings.Token)
	authenticated := func(token string) bool {
		_, content := b.call("POST", "/internal/token-review", "",
			`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"`+token+`"}}`)
		answer := decode[struct {
			Status struct {
				Authenticated bool
				User          struct{ Groups []string }
			}
		}](t, content)
		return answer.Status.Authenticated && slices.Contains(answer.Status.User.Groups, "system:masters")
	}
	seconds := 600
	first, _, err := client.Kubernetes.GetCredentials(ctx, settings.ClusterID, &godo.KubernetesClusterCredentialsGetRequest{ExpirySeconds: &seconds})
	if err != nil || !strings.Contains(string(first.CertificateAuthorityData), "BEGIN CERTIFICATE") {
		t.Fatalf("credentials: %v, %v", first, err)
	}
	second, _, err := client.Kubernetes.GetKubeConfig(ctx, settings.ClusterID, nil)
	if err != nil || !strings.Contains(string(second.KubeconfigYAML), "current-context: do-nyc1-todo-prod") || strings.Contains(string(second.KubeconfigYAML), first.Token) {
		t.Fatalf("kubeconfig: %s, %v", second.KubeconfigYAML, err)
	}
	if !authenticated(first.Token) || authenticated(settings.Token) || authenticated("") {
		t.Error("the credential must open the cluster, the API's token and none must not")
	}
	if err := b.Account.Advance(11 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if authenticated(first.Token) {
		t.Error("an expired credential opens the cluster")
	}
	third, _, err := client.Kubernetes.GetCredentials(ctx, settings.ClusterID, &godo.KubernetesClusterCredentialsGetRequest{})
	if err != nil || !authenticated(third.Token) {
		t.Fatalf("a new credential: %v, %v", third, err)
	}
	if err := b.Account.Revoke(third.Token); err != nil {
		t.Fatal(err)
	}
	if authenticated(third.Token) {
		t.Error("a revoked credential opens the cluster")
	}
}

// TestDockerCredentials: read-only by default, and read-write only with the scopes for it.
func TestDockerCredentials(t *testing.T) {
	b, ctx := newBench(t), context.Background()
	credentials, _, err := b.godo(settings.Token).Registry.DockerCredentials(ctx, &godo.RegistryDockerCredentialsRequest{ReadWrite: true})
	if err != nil {
		t.Fatal(err)
	}
	config := decode[struct {
		Auths map[string]struct{ Auth string }
	}](t, credentials.DockerConfigJSON)
	if config.Auths[settings.RegistryHost].Auth == "" {
		t.Errorf("no credential in %s", credentials.DockerConfigJSON)
	}
	reader := b.godo(b.token("registry:read", "registry:update"))
	if _, _, err := reader.Registry.DockerCredentials(ctx, &godo.RegistryDockerCredentialsRequest{}); err != nil {
		t.Error(err)
	}
	if _, response, err := reader.Registry.DockerCredentials(ctx, &godo.RegistryDockerCredentialsRequest{ReadWrite: true}); response.StatusCode != http.StatusForbidden {
		t.Errorf("read-write without registry:create: %v", err)
	}
}

// TestSeveralRegistries: the single base refuses when there are two.
func TestSeveralRegistries(t *testing.T) {
	b := newBench(t)
	if response, _ := b.call("GET", "/v2/registry", settings.Token, ""); response.StatusCode != http.StatusOK {
		t.Fatalf("with one registry: %s", response.Status)
	}
	if response, content := b.call("POST", "/v2/registries", settings.Token, `{"name":"second","region":"fra1"}`); response.StatusCode != http.StatusCreated {
		t.Fatalf("a second one: %s %s", response.Status, content)
	}
	for _, path := range []string{"/v2/registry", "/v2/registry/docker-credentials"} {
		if response, _ := b.call("GET", path, settings.Token, ""); response.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("%s with two registries: %s", path, response.Status)
		}
	}
}

// TestRegistryIntegration: it can be switched off and on.
func TestRegistryIntegration(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	client := b.godo(settings.Token)
	request := &godo.KubernetesClusterRegistryRequest{ClusterUUIDs: []string{settings.ClusterID}}
	if _, err := client.Kubernetes.RemoveRegistry(ctx, request); err != nil || b.Account.RegistryEnabled(settings.ClusterID) {
		t.Fatalf("off: %v", err)
	}
	if _, err := client.Kubernetes.AddRegistry(ctx, request); err != nil || !b.Account.RegistryEnabled(settings.ClusterID) {
		t.Fatalf("on: %v", err)
	}
}

// TestUnknownRoute: the log tells what nobody knows from what is missing, and from what is not emulated.
func TestUnknownRoute(t *testing.T) {
	b := newBench(t)
	for _, tried := range []struct {
		path   string
		status int
		note   string
	}{
		{"/v2/kubernetes/clusters/nope", http.StatusNotFound, ""},
		{"/v2/klusters", http.StatusNotFound, "unknown route"},
		{"/v2/databases", http.StatusNotImplemented, "not implemented"},
	} {
		response, content := b.call("GET", tried.path, settings.Token, "")
		requests, _ := b.Account.Requests(0)
		if last := requests[len(requests)-1]; response.StatusCode != tried.status || last.Note != tried.note || last.Principal != "sandbox" {
			t.Errorf("%s: %s %s, logged %+v", tried.path, response.Status, content, last)
		}
		if !json.Valid(content) || response.Header.Get("x-request-id") == "" {
			t.Errorf("%s: %s", tried.path, content)
		}
	}
}
