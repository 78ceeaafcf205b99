package digitalocean_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/digitalocean"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// example is how one route is called. Words in angle brackets are replaced by what the fixture has made.
type example struct {
	path   string
	body   string
	status int
	images bool // needs an image in the registry

	missing string // a path whose object is not there: 404
	invalid string // a body, or a query that begins with ?, that is refused: 422
	paged   string // the key of a list of at least two: has a page 2
}

// Bodies that several routes take.
const (
	balancerBody = `{"name":"new","region":"nyc1","type":"REGIONAL_NETWORK","droplet_ids":[1001],"tags":["k8s:x"],
		"forwarding_rules":[{"entry_protocol":"tcp","entry_port":80,"target_protocol":"tcp","target_port":80}]}`
	balancerUpdate = `{"name":"one","region":"nyc1","droplet_ids":[1001],
		"forwarding_rules":[{"entry_protocol":"tcp","entry_port":80,"target_protocol":"tcp","target_port":81}]}`
	balancerWrong = `{"name":"new","region":"nyc1","droplet_ids":[],"forwarding_rules":[]}`
	firewallBody  = `{"name":"web","inbound_rules":[{"protocol":"tcp","ports":"80","sources":{"addresses":["0.0.0.0/0"]}}],
		"outbound_rules":[{"protocol":"tcp","ports":"all","destinations":{"addresses":["0.0.0.0/0"]}}],"droplet_ids":[1001],"tags":[]}`
	firewallWrong = `{"name":"web","inbound_rules":[],"outbound_rules":[]}`
	clusterBody   = `{"name":"c","region":"nyc1","version":"1.34.4-do.0","node_pools":[{"name":"p","size":"s-2vcpu-4gb","count":2}]}`
	clusterWrong  = `{"name":"c","region":"nyc1","version":"1.2.3","node_pools":[{"name":"p","size":"s-2vcpu-4gb","count":2}]}`
	clusterList   = `{"cluster_uuids":["<cluster>"]}`
	registryBody  = `{"name":"another","subscription_tier_slug":"professional","region":"fra1"}`
	registryWrong = `{"name":"Not A Name","subscription_tier_slug":"professional","region":"fra1"}`
	taggedBody    = `{"resources":[{"resource_id":"1001","resource_type":"droplet"}]}`
	noClusters    = `{"cluster_uuids":[]}`
	registries    = "/v2/registries/todo-app-registry"
	registryOld   = "/v2/registry/todo-app-registry"
	clusters      = "/v2/kubernetes/clusters/"
)

// examples has one for every route: a route without is a failure.
var examples = map[string]example{
	"GET /v2/account": {path: "/v2/account", status: 200},
	"GET /v2/regions": {path: "/v2/regions", status: 200, paged: "regions"},
	"GET /v2/sizes":   {path: "/v2/sizes", status: 200, paged: "sizes"},

	"GET /v2/kubernetes/options":       {path: "/v2/kubernetes/options", status: 200},
	"GET /v2/kubernetes/clusters":      {path: "/v2/kubernetes/clusters", status: 200, paged: "kubernetes_clusters"},
	"POST /v2/kubernetes/clusters":     {path: "/v2/kubernetes/clusters", body: clusterBody, status: 201, invalid: clusterWrong},
	"GET /v2/kubernetes/clusters/{id}": {path: clusters + "<cluster>", status: 200, missing: clusters + "<nothing>"},
	"GET /v2/kubernetes/clusters/{id}/credentials": {path: clusters + "<cluster>/credentials", status: 200,
		missing: clusters + "<nothing>/credentials", invalid: "?expiry_seconds=soon"},
	"GET /v2/kubernetes/clusters/{id}/kubeconfig": {path: clusters + "<cluster>/kubeconfig", status: 200,
		missing: clusters + "<nothing>/kubeconfig", invalid: "?type=sso"},
	"GET /v2/kubernetes/clusters/{id}/user": {path: clusters + "<cluster>/user", status: 200, missing: clusters + "<nothing>/user"},
	"GET /v2/kubernetes/clusters/{id}/node_pools": {path: clusters + "<cluster>/node_pools", status: 200,
		missing: clusters + "<nothing>/node_pools", paged: "node_pools"},
	"GET /v2/kubernetes/clusters/{id}/node_pools/{pool}": {path: clusters + "<cluster>/node_pools/<pool>", status: 200,
		missing: clusters + "<cluster>/node_pools/<nothing>"},
	"GET /v2/kubernetes/clusters/{id}/destroy_with_associated_resources": {path: clusters + "<cluster>/destroy_with_associated_resources",
		status: 200, missing: clusters + "<nothing>/destroy_with_associated_resources"},
	"POST /v2/kubernetes/registry":     {path: "/v2/kubernetes/registry", body: clusterList, status: 204, invalid: noClusters},
	"DELETE /v2/kubernetes/registry":   {path: "/v2/kubernetes/registry", body: clusterList, status: 204, invalid: noClusters},
	"POST /v2/kubernetes/registries":   {path: "/v2/kubernetes/registries", body: clusterList, status: 204, invalid: noClusters},
	"DELETE /v2/kubernetes/registries": {path: "/v2/kubernetes/registries", body: clusterList, status: 204, invalid: noClusters},

	"GET /v2/registries":                {path: "/v2/registries", status: 200},
	"POST /v2/registries":               {path: "/v2/registries", body: registryBody, status: 201, invalid: registryWrong},
	"GET /v2/registries/options":        {path: "/v2/registries/options", status: 200},
	"GET /v2/registries/subscription":   {path: "/v2/registries/subscription", status: 200},
	"POST /v2/registries/subscription":  {path: "/v2/registries/subscription", body: `{"tier_slug":"basic"}`, status: 200, invalid: `{"tier_slug":"gold"}`},
	"POST /v2/registries/validate-name": {path: "/v2/registries/validate-name", body: `{"name":"free"}`, status: 204, invalid: `{"name":"Not free"}`},
	"GET /v2/registries/{registry}":     {path: registries, status: 200, missing: "/v2/registries/none"},
	"DELETE /v2/registries/{registry}":  {path: registries, status: 204, missing: "/v2/registries/none"},
	"GET /v2/registries/{registry}/docker-credentials": {path: registries + "/docker-credentials", status: 200,
		missing: "/v2/registries/none/docker-credentials", invalid: "?expiry_seconds=soon"},
	"POST /v2/registries/{registry}/garbage-collection": {path: registries + "/garbage-collection", body: `{"type":"unreferenced blobs only"}`, status: 201,
		missing: "/v2/registries/none/garbage-collection", invalid: `{"type":"everything"}`},
	"GET /v2/registries/{registry}/garbage-collection": {path: registries + "/garbage-collection", status: 200, missing: "/v2/registries/none/garbage-collection"},
	"GET /v2/registries/{registry}/garbage-collections": {path: registries + "/garbage-collections", status: 200,
		missing: "/v2/registries/none/garbage-collections", paged: "garbage_collections"},
	"PUT /v2/registries/{registry}/garbage-collection/{uuid}": {path: registries + "/garbage-collection/<garbage>", body: `{"cancel":true}`, status: 200,
		missing: registries + "/garbage-collection/<nothing>", invalid: `{"cancel":false}`},
	"GET /v2/registries/{registry}/repositoriesV2": {path: registries + "/repositoriesV2", status: 200, images: true,
		missing: "/v2/registries/none/repositoriesV2", paged: "repositories"},
	"DELETE /v2/registries/{registry}/repositories/{repository}": {path: registries + "/repositories/web", status: 204, images: true,
		missing: registries + "/repositories/none"},
	"GET /v2/registries/{registry}/repositories/{repository}/tags": {path: registries + "/repositories/web/tags", status: 200, images: true,
		missing: registries + "/repositories/none/tags", paged: "tags"},
	"DELETE /v2/registries/{registry}/repositories/{repository}/tags/{tag}": {path: registries + "/repositories/web/tags/v1", status: 204,
		images: true, missing: registries + "/repositories/web/tags/v9"},
	"GET /v2/registries/{registry}/repositories/{repository}/digests": {path: registries + "/repositories/web/digests", status: 200,
		images: true, missing: registries + "/repositories/none/digests", paged: "manifests"},
	"DELETE /v2/registries/{registry}/repositories/{repository}/digests/{digest}": {path: registries + "/repositories/web/digests/<digest>",
		status: 204, images: true, missing: registries + "/repositories/web/digests/sha256:0"},

	"GET /v2/registry":                    {path: "/v2/registry", status: 200},
	"POST /v2/registry":                   {path: "/v2/registry", body: registryBody, status: 201, invalid: registryWrong},
	"DELETE /v2/registry":                 {path: "/v2/registry", status: 204},
	"GET /v2/registry/options":            {path: "/v2/registry/options", status: 200},
	"GET /v2/registry/subscription":       {path: "/v2/registry/subscription", status: 200},
	"POST /v2/registry/subscription":      {path: "/v2/registry/subscription", body: `{"tier_slug":"basic"}`, status: 200, invalid: `{"tier_slug":"gold"}`},
	"POST /v2/registry/validate-name":     {path: "/v2/registry/validate-name", body: `{"name":"free"}`, status: 204, invalid: `{"name":"Not free"}`},
	"GET /v2/registry/docker-credentials": {path: "/v2/registry/docker-credentials?read_write=true&expiry_seconds=60", status: 200},
	"POST /v2/registry/{registry}/garbage-collection": {path: registryOld + "/garbage-collection", body: `{"type":"unreferenced blobs only"}`, status: 201,
		missing: "/v2/registry/none/garbage-collection", invalid: `{"type":"everything"}`},
	"GET /v2/registry/{registry}/garbage-collection": {path: registryOld + "/garbage-collection", status: 200, missing: "/v2/registry/none/garbage-collection"},
	"GET /v2/registry/{registry}/garbage-collections": {path: registryOld + "/garbage-collections", status: 200,
		missing: "/v2/registry/none/garbage-collections", paged: "garbage_collections"},
	"PUT /v2/registry/{registry}/garbage-collection/{uuid}": {path: registryOld + "/garbage-collection/<garbage>", body: `{"cancel":true}`, status: 200,
		missing: registryOld + "/garbage-collection/<nothing>", invalid: `{"cancel":false}`},
	"GET /v2/registry/{registry}/repositoriesV2": {path: registryOld + "/repositoriesV2", status: 200, images: true,
		missing: "/v2/registry/none/repositoriesV2", paged: "repositories"},
	"GET /v2/registry/{registry}/repositories/{repository}/tags": {path: registryOld + "/repositories/web/tags", status: 200, images: true,
		missing: registryOld + "/repositories/none/tags", paged: "tags"},
	"DELETE /v2/registry/{registry}/repositories/{repository}/tags/{tag}": {path: registryOld + "/repositories/web/tags/v1", status: 204,
		images: true, missing: registryOld + "/repositories/web/tags/v9"},
	"GET /v2/registry/{registry}/repositories/{repository}/digests": {path: registryOld + "/repositories/web/digests", status: 200,
		images: true, missing: registryOld + "/repositories/none/digests", paged: "manifests"},
	"DELETE /v2/registry/{registry}/repositories/{repository}/digests/{digest}": {path: registryOld + "/repositories/web/digests/<digest>",
		status: 204, images: true, missing: registryOld + "/repositories/web/digests/sha256:0"},

	"GET /v2/load_balancers":         {path: "/v2/load_balancers", status: 200, paged: "load_balancers"},
	"POST /v2/load_balancers":        {path: "/v2/load_balancers", body: balancerBody, status: 202, invalid: balancerWrong},
	"GET /v2/load_balancers/{id}":    {path: "/v2/load_balancers/<balancer>", status: 200, missing: "/v2/load_balancers/<nothing>"},
	"PUT /v2/load_balancers/{id}":    {path: "/v2/load_balancers/<balancer>", body: balancerUpdate, status: 200, missing: "/v2/load_balancers/<nothing>", invalid: balancerWrong},
	"DELETE /v2/load_balancers/{id}": {path: "/v2/load_balancers/<balancer>", status: 204, missing: "/v2/load_balancers/<nothing>"},

	"GET /v2/droplets":      {path: "/v2/droplets", status: 200, paged: "droplets"},
	"GET /v2/droplets/{id}": {path: "/v2/droplets/1001", status: 200, missing: "/v2/droplets/9999"},

	"GET /v2/tags":                    {path: "/v2/tags", status: 200, paged: "tags"},
	"POST /v2/tags":                   {path: "/v2/tags", body: `{"name":"blue"}`, status: 201, invalid: `{"name":"not a tag"}`},
	"GET /v2/tags/{tag}":              {path: "/v2/tags/k8s", status: 200, missing: "/v2/tags/none"},
	"DELETE /v2/tags/{tag}":           {path: "/v2/tags/k8s", status: 204, missing: "/v2/tags/none"},
	"POST /v2/tags/{tag}/resources":   {path: "/v2/tags/k8s/resources", body: taggedBody, status: 204, missing: "/v2/tags/none/resources", invalid: `{"resources":[]}`},
	"DELETE /v2/tags/{tag}/resources": {path: "/v2/tags/k8s/resources", body: taggedBody, status: 204, missing: "/v2/tags/none/resources", invalid: `{"resources":[]}`},

	"GET /v2/vpcs":      {path: "/v2/vpcs", status: 200, paged: "vpcs"},
	"GET /v2/vpcs/{id}": {path: "/v2/vpcs/<vpc>", status: 200, missing: "/v2/vpcs/<nothing>"},

	"GET /v2/volumes":      {path: "/v2/volumes", status: 200, paged: "volumes"},
	"GET /v2/volumes/{id}": {path: "/v2/volumes/<volume>", status: 200, missing: "/v2/volumes/<nothing>"},

	"GET /v2/firewalls":         {path: "/v2/firewalls", status: 200, paged: "firewalls"},
	"POST /v2/firewalls":        {path: "/v2/firewalls", body: firewallBody, status: 202, invalid: firewallWrong},
	"GET /v2/firewalls/{id}":    {path: "/v2/firewalls/<firewall>", status: 200, missing: "/v2/firewalls/<nothing>"},
	"PUT /v2/firewalls/{id}":    {path: "/v2/firewalls/<firewall>", body: firewallBody, status: 200, missing: "/v2/firewalls/<nothing>", invalid: firewallWrong},
	"DELETE /v2/firewalls/{id}": {path: "/v2/firewalls/<firewall>", status: 204, missing: "/v2/firewalls/<nothing>"},
}

// fixture is an API whose account has two of everything that is listed in pages.
type fixture struct {
	*bench
	method, pattern string
	words           *strings.Replacer
	validator       *validator
}

// nothing is the id of no object.
const nothing = "5ea00000-0000-4000-8000-00000000dead"

// newFixture makes one for a route.
func newFixture(t *testing.T, pattern string, with example) *fixture {
	t.Helper()
	method, _, _ := strings.Cut(pattern, " ")
	f := &fixture{bench: newBench(t), method: method, pattern: pattern, validator: newValidator(t)}
	f.addSecondOfEverything()
	digest := ""
	if with.images {
		f.startRegistry()
		digest = f.push("web:v1")
		f.push("web:v2")
		f.push("api:v1")
	}
	var firewall, balancer, pool string
	f.Account.View(func(s *account.State) {
		firewall, balancer, pool = s.Firewalls[0].ID, s.Balancers[0].ID, s.Clusters[0].NodePools[0].ID
	})
	f.words = strings.NewReplacer("<cluster>", settings.ClusterID, "<nothing>", nothing, "<digest>", digest, "<pool>", pool,
		"<firewall>", firewall, "<balancer>", balancer, "<vpc>", settings.VPCID, "<volume>", volumeID, "<garbage>", garbageID)
	return f
}

// Ids of a volume and of a garbage collection.
const (
	volumeID  = "5ea00000-0000-4000-8000-0000000000b1"
	garbageID = "5ea00000-0000-4000-8000-0000000000c1"
)

// addGarbageCollections adds one that has ended, and one that runs unless the route is to start it.
func (f *fixture) addGarbageCollections(s *account.State) {
	for _, gc := range []godo.GarbageCollection{
		{UUID: nothing, Status: "succeeded"}, {UUID: garbageID, Status: "waiting for write JWTs to expire"},
	} {
		gc.RegistryName, gc.Type = settings.RegistryName, godo.GCTypeUnreferencedBlobsOnly
		if gc.Status == "succeeded" || !strings.HasPrefix(f.pattern, "POST ") {
			s.GarbageCollections = append(s.GarbageCollections, account.GarbageCollection{GarbageCollection: gc})
		}
	}
}

// addSecondOfEverything fills the account.
func (f *fixture) addSecondOfEverything() {
	f.t.Helper()
	if err := f.Account.Switch(func(s *account.Switches) error { s.BalancerDelay = 0; return nil }); err != nil {
		f.t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		for path, body := range map[string]string{"/v2/load_balancers": balancerBody, "/v2/firewalls": firewallBody} {
			body = strings.NewReplacer(`"name":"new"`, `"name":"`+name+`"`, "REGIONAL_NETWORK", "REGIONAL").Replace(body)
			if response, content := f.call("POST", path, settings.Token, body); response.StatusCode != http.StatusAccepted {
				f.t.Fatalf("%s: %s", path, content)
			}
		}
	}
	err := f.Account.Change(func(s *account.State) error {
		cluster := account.Clone(s.Clusters[0])
		cluster.ID = "5ea00000-0000-4000-8000-000000000002"
		s.Clusters = append(s.Clusters, cluster)
		s.Clusters[0].NodePools = append(s.Clusters[0].NodePools, account.Clone(s.Clusters[0].NodePools[0]))
		droplet := account.Clone(s.Droplets[0])
		droplet.ID = 1002
		s.Droplets = append(s.Droplets, droplet)
		vpc := account.Clone(s.VPCs[0])
		vpc.ID, vpc.Default = "5ea00000-0000-4000-8000-0000000000fe", false
		s.VPCs = append(s.VPCs, vpc)
		if strings.Contains(f.pattern, "garbage") {
			f.addGarbageCollections(s)
		}
		for _, id := range []string{volumeID, "5ea00000-0000-4000-8000-0000000000b2"} {
			s.Volumes = append(s.Volumes, godo.Volume{ID: id, Name: id, SizeGigaBytes: 1, Region: &s.Regions[0], CreatedAt: cluster.CreatedAt,
				DropletIDs: []int{}, Tags: []string{}})
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// send sends a request of the route and checks the answer's status, and its form.
func (f *fixture) send(token, path, body string, status int) (http.Header, []byte) {
	f.t.Helper()
	path, body = f.words.Replace(path), f.words.Replace(body)
	response, content := f.call(f.method, path, token, body)
	if response.StatusCode != status {
		f.t.Errorf("%s %s: %s %s, want %d", f.method, path, response.Status, content, status)
		return response.Header, content
	}
	f.validator.check(f.pattern, f.method, path, body, response, content)
	if status < 400 {
		return response.Header, content
	}
	failure := decode[struct {
		ID        string `json:"id"`
		Message   string `json:"message"`
		RequestID string `json:"request_id"`
	}](f.t, content)
	if failure.ID == "" || failure.Message == "" || failure.RequestID != response.Header.Get("x-request-id") {
		f.t.Errorf("%s %s: the failure is %s", f.method, path, content)
	}
	return response.Header, content
}

// TestEveryRoute: each route answers, and refuses as DigitalOcean does.
func TestEveryRoute(t *testing.T) {
	routes := digitalocean.RoutesOfTest()
	for _, route := range routes {
		how, found := examples[route.Pattern]
		if !found {
			t.Errorf("%s has no example", route.Pattern)
			continue
		}
		t.Run(strings.ReplaceAll(route.Pattern, "/", "_"), func(t *testing.T) {
			checkRoute(t, route, how)
		})
	}
	for pattern := range examples {
		if !slices.ContainsFunc(routes, func(r digitalocean.RouteOfTest) bool { return r.Pattern == pattern }) {
			t.Errorf("%s is an example of no route", pattern)
		}
	}
}

// checkRoute tries a route in all ways; the one that succeeds comes last, for it may delete the object.
func checkRoute(t *testing.T, route digitalocean.RouteOfTest, how example) {
	f := newFixture(t, route.Pattern, how)
	f.validator.checkScopes(route.Pattern, f.words.Replace(how.path), route.Scopes)
	f.send("dop_v1_wrong", how.path, how.body, http.StatusUnauthorized)
	f.send("", how.path, how.body, http.StatusUnauthorized)
	for _, missing := range route.Scopes {
		others := slices.DeleteFunc(slices.Clone(route.Scopes), func(s string) bool { return s == missing })
		f.send(f.token(append(others, "image:read")...), how.path, how.body, http.StatusForbidden)
	}
	if how.missing != "" {
		f.send(settings.Token, how.missing, how.body, http.StatusNotFound)
	} else if strings.Contains(route.Pattern, "{") {
		t.Error("a route with an object in its path needs an example of a missing one")
	}
	if query, isQuery := strings.CutPrefix(how.invalid, "?"); isQuery {
		f.send(settings.Token, how.path+"?"+query, how.body, http.StatusUnprocessableEntity)
	} else if how.invalid != "" {
		f.send(settings.Token, how.path, how.invalid, http.StatusUnprocessableEntity)
	} else if how.body != "" {
		t.Error("a route with a body needs an example of one that is refused")
	}
	f.checkLimit(how)
	if how.paged != "" {
		f.checkPages(how)
	}
	token := f.token(append(route.Scopes, "registry:update", "registry:create")...)
	f.send(token, how.path, how.body, f.expected(how))
}

// expected is the status of success. Clusters cannot be created without a creator, and that is said.
func (f *fixture) expected(how example) int {
	if f.pattern == "POST /v2/kubernetes/clusters" {
		return http.StatusNotImplemented
	}
	return how.status
}

// checkLimit: above the limit a minute the answer says when to come back.
func (f *fixture) checkLimit(how example) {
	f.t.Helper()
	setLimit := func(limit int) {
		if err := f.Account.Switch(func(s *account.Switches) error { s.RequestsPerMinute = limit; return nil }); err != nil {
			f.t.Fatal(err)
		}
	}
	setLimit(0)
	header, _ := f.send(f.token(account.AllScopes), how.path, how.body, http.StatusTooManyRequests)
	if seconds, err := strconv.Atoi(header.Get("retry-after")); err != nil || seconds < 1 || seconds > 60 {
		f.t.Errorf("retry-after is %q", header.Get("retry-after"))
	}
	setLimit(1000)
}

// checkPages: page 2 has other items than page 1, leads back, and both tell the total.
func (f *fixture) checkPages(how example) {
	f.t.Helper()
	type answer struct {
		Links struct {
			Pages struct{ First, Prev, Next, Last string }
		}
		Meta struct{ Total int }
	}
	read := func(page string) (answer, []json.RawMessage) {
		_, content := f.send(settings.Token, how.path+"?per_page=1&page="+page, "", http.StatusOK)
		items := decode[map[string]json.RawMessage](f.t, content)
		return decode[answer](f.t, content), decode[[]json.RawMessage](f.t, items[how.paged])
	}
	first, firstItems := read("1")
	second, secondItems := read("2")
	if len(firstItems) != 1 || len(secondItems) != 1 || first.Meta.Total < 2 || second.Meta.Total != first.Meta.Total {
		f.t.Errorf("pages of %d and %d items of %d", len(firstItems), len(secondItems), first.Meta.Total)
	}
	if !strings.Contains(first.Links.Pages.Next, "page=2") || first.Links.Pages.Prev != "" || !strings.Contains(second.Links.Pages.Prev, "page=1") {
		f.t.Errorf("links: %+v, then %+v", first.Links.Pages, second.Links.Pages)
	}
	f.send(settings.Token, how.path+"?page=zero", "", http.StatusUnprocessableEntity)
	_, content := f.send(settings.Token, how.path+"?page=999", "", http.StatusOK)
	if !strings.Contains(string(content), `"`+how.paged+`":[]`) {
		f.t.Errorf("beyond the last page: %s", content)
	}
}

// TestLimitAnHour: above it there is no retry-after, only the time of the reset, and the clock brings it.
func TestLimitAnHour(t *testing.T) {
	b := newBench(t)
	if err := b.Account.Switch(func(s *account.Switches) error { s.RequestsPerHour = 3; return nil }); err != nil {
		t.Fatal(err)
	}
	for left := 2; left >= 0; left-- {
		response, _ := b.call("GET", "/v2/account", settings.Token, "")
		if response.Header.Get("ratelimit-limit") != "3" || response.Header.Get("ratelimit-remaining") != strconv.Itoa(left) {
			t.Errorf("%d left: %v", left, response.Header)
		}
	}
	response, _ := b.call("GET", "/v2/account", settings.Token, "")
	if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("retry-after") != "" || response.Header.Get("ratelimit-reset") == "" {
		t.Errorf("above the limit: %s %v", response.Status, response.Header)
	}
	if err := b.Account.Advance(3601e9); err != nil {
		t.Fatal(err)
	}
	if response, _ := b.call("GET", "/v2/account", settings.Token, ""); response.StatusCode != http.StatusOK {
		t.Errorf("an hour later: %s", response.Status)
	}
}

// TestServerErrors: as many as asked for, and then no more.
func TestServerErrors(t *testing.T) {
	b := newBench(t)
	if err := b.Account.Switch(func(s *account.Switches) error { s.ServerErrors = 2; return nil }); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{500, 500, 200} {
		if response, _ := b.call("GET", "/v2/account", settings.Token, ""); response.StatusCode != status {
			t.Errorf("%s, want %d", response.Status, status)
		}
	}
}

// TestNothingIsUnknown: whatever DigitalOcean describes is answered, or refused as not emulated; never as unknown.
func TestNothingIsUnknown(t *testing.T) {
	api, err := description()
	if err != nil || api == nil {
		t.Skipf("there is no description to compare with: %v", err)
	}
	b := newBench(t)
	if err := b.Account.Switch(func(s *account.Switches) error { s.RequestsPerMinute = 10_000; return nil }); err != nil {
		t.Fatal(err)
	}
	wildcard := regexp.MustCompile(`\{[^}]*\}`)
	for path, methods := range api.Operations() {
		for _, method := range methods {
			response, _ := b.call(method, wildcard.ReplaceAllString(path, "x"), settings.Token, "{}")
			requests, _ := b.Account.Requests(0)
			if last := requests[len(requests)-1]; last.Note == "unknown route" {
				t.Errorf("%s %s: %s, %s", method, path, response.Status, last.Note)
			}
		}
	}
}

// TestGarbageCollection: pushes stop until it is over, and then the garbage is really gone.
func TestGarbageCollection(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.startRegistry()
	b.push("web:v1")
	kept := b.push("web:v1") // the first one has no tag any more
	official := b.godo(settings.Token)
	started, _, err := official.Registry.StartGarbageCollection(ctx, settings.RegistryName,
		&godo.StartGarbageCollectionRequest{Type: godo.GCTypeUntaggedManifestsAndUnreferencedBlobs})
	if err != nil {
		t.Fatal(err)
	}
	writer, push := b.credential(true, 0), "repository:"+settings.RegistryName+"/web:push"
	if status, _, _ := b.askToken("GET", "x", writer, push); status != http.StatusUnauthorized {
		t.Errorf("a push meanwhile: %d", status)
	}
	if active, _, err := official.Registry.GetGarbageCollection(ctx, settings.RegistryName); err != nil || active.UUID != started.UUID {
		t.Errorf("active: %v, %v", active, err)
	}
	if err := b.Account.Advance(time.Minute); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := b.askToken("GET", "x", writer, push); status != http.StatusOK {
		t.Errorf("a push afterwards: %d", status)
	}
	if _, response, _ := official.Registry.GetGarbageCollection(ctx, settings.RegistryName); response.StatusCode != http.StatusNotFound {
		t.Errorf("active afterwards: %s", response.Status)
	}
	all, _, err := official.Registry.ListGarbageCollections(ctx, settings.RegistryName, nil)
	// The manifest, its configuration and its layer.
	if err != nil || len(all) != 1 || all[0].Status != "succeeded" || all[0].BlobsDeleted != 3 || all[0].FreedBytes == 0 {
		t.Errorf("ended: %+v, %v", all, err)
	}
	left, _, err := official.Registry.ListRepositoryManifests(ctx, settings.RegistryName, "web", nil)
	if err != nil || len(left) != 1 || left[0].Digest != kept {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// TestGarbageCollectionStages: it goes through what DigitalOcean documents, by the account's clock, and is visible at each.
func TestGarbageCollectionStages(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.startRegistry()
	b.push("web:v1")
	official := b.godo(settings.Token)
	if err := b.Account.Switch(func(s *account.Switches) error { s.GarbageCollection = 1000; return nil }); err != nil {
		t.Fatal(err)
	}
	begin := func(kind godo.GarbageCollectionType) string {
		started, _, err := official.Registry.StartGarbageCollection(ctx, settings.RegistryName, &godo.StartGarbageCollectionRequest{Type: kind})
		if err != nil {
			t.Fatal(err)
		}
		return started.Status
	}
	look := func() string {
		all, _, err := official.Registry.ListGarbageCollections(ctx, settings.RegistryName, nil)
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Status
	}
	seen := []string{begin(godo.GCTypeUntaggedManifestsAndUnreferencedBlobs)}
	for range 10 {
		if err := b.Account.Advance(101 * time.Second); err != nil {
			t.Fatal(err)
		}
		if status := look(); status != seen[len(seen)-1] {
			seen = append(seen, status)
		}
	}
	want := []string{"requested", "waiting for write JWTs to expire", "scanning manifests", "deleting unreferenced blobs", "succeeded"}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
	if err := b.Account.Switch(func(s *account.Switches) error { s.GarbageCollectionFails = true; return nil }); err != nil {
		t.Fatal(err)
	}
	begin(godo.GCTypeUntaggedManifestsOnly)
	if err := b.Account.Advance(1001 * time.Second); err != nil {
		t.Fatal(err)
	}
	if status := look(); status != "failed" {
		t.Errorf("one that is to fail is %q", status)
	}
}

// TestGarbageCollectionStuck: it stays where it is until it is cancelled, which takes a while too; nothing was removed.
func TestGarbageCollectionStuck(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.startRegistry()
	b.push("web:v1")
	b.push("web:v1")
	if err := b.Account.Switch(func(s *account.Switches) error {
		s.GarbageCollectionStuck, s.GarbageCollectionCancel = "scanning manifests", 60
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	official := b.godo(settings.Token)
	started, _, err := official.Registry.StartGarbageCollection(ctx, settings.RegistryName,
		&godo.StartGarbageCollectionRequest{Type: godo.GCTypeUntaggedManifestsAndUnreferencedBlobs})
	if err != nil {
		t.Fatal(err)
	}
	if _, response, _ := official.Registry.StartGarbageCollection(ctx, settings.RegistryName); response.StatusCode != http.StatusConflict {
		t.Errorf("a second one: %s", response.Status)
	}
	writer, push := b.credential(true, 0), "repository:"+settings.RegistryName+"/web:push"
	advance := func(want string, token int) {
		t.Helper()
		if err := b.Account.Advance(61 * time.Second); err != nil {
			t.Fatal(err)
		}
		all, _, err := official.Registry.ListGarbageCollections(ctx, settings.RegistryName, nil)
		if err != nil || all[0].Status != want || all[0].BlobsDeleted != 0 {
			t.Errorf("%+v, %v, want %q", all, err, want)
		}
		if status, _, _ := b.askToken("GET", "x", writer, push); status != token {
			t.Errorf("%s: a push gets %d", want, status)
		}
	}
	advance("scanning manifests", http.StatusUnauthorized)
	advance("scanning manifests", http.StatusUnauthorized)
	cancelled, _, err := official.Registry.UpdateGarbageCollection(ctx, settings.RegistryName, started.UUID, &godo.UpdateGarbageCollectionRequest{Cancel: true})
	if err != nil || cancelled.Status != "cancelling" {
		t.Errorf("cancelled: %+v, %v", cancelled, err)
	}
	if status, _, _ := b.askToken("GET", "x", writer, push); status != http.StatusUnauthorized {
		t.Errorf("cancelling: a push gets %d", status)
	}
	advance("cancelled", http.StatusOK)
	if left, _, err := official.Registry.ListRepositoryManifests(ctx, settings.RegistryName, "web", nil); err != nil || len(left) != 2 {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// TestGarbageOfAnEmptyRegistry: what was deleted last is collected too, and where nothing was ever pushed nothing fails.
func TestGarbageOfAnEmptyRegistry(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	b.startRegistry()
	official := b.godo(settings.Token)
	collect := func() *godo.GarbageCollection {
		t.Helper()
		if _, _, err := official.Registry.StartGarbageCollection(ctx, settings.RegistryName); err != nil {
			t.Fatal(err)
		}
		if err := b.Account.Advance(time.Minute); err != nil {
			t.Fatal(err)
		}
		all, _, err := official.Registry.ListGarbageCollections(ctx, settings.RegistryName, nil)
		if err != nil || all[0].Status != "succeeded" {
			t.Fatalf("%+v, %v", all, err)
		}
		return all[0]
	}
	if first := collect(); first.BlobsDeleted != 0 {
		t.Errorf("of nothing: %+v", first)
	}
	if _, err := official.Registry.DeleteManifest(ctx, settings.RegistryName, "web", b.push("web:v1")); err != nil {
		t.Fatal(err)
	}
	if second := collect(); second.BlobsDeleted != 3 || second.FreedBytes == 0 {
		t.Errorf("of all: %+v", second)
	}
}
