package cloudcontroller

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digitalocean/godo"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/cloud-provider/api"
)

// fakeAccount answers the load balancer routes for at most one load balancer and records what it was asked.
type fakeAccount struct {
	mu       sync.Mutex
	balancer *godo.LoadBalancer
	requests []string
}

func (f *fakeAccount) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer t" {
		write(w, 401, map[string]string{"id": "unauthorized", "message": "Unable to authenticate you"})
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
	body, _ := io.ReadAll(r.Body)
	switch {
	case r.URL.Path == "/v2/droplets":
		write(w, 200, map[string]any{"droplets": []godo.Droplet{{ID: 1001, Name: "node-a"}}})
	case r.Method == http.MethodPost:
		f.balancer = &godo.LoadBalancer{ID: "lb-1", Status: "new"}
		f.keep(body)
		write(w, 202, map[string]any{"load_balancer": f.balancer})
	case r.URL.Path == "/v2/load_balancers":
		list := []godo.LoadBalancer{}
		if f.balancer != nil {
			list = append(list, *f.balancer)
		}
		write(w, 200, map[string]any{"load_balancers": list})
	case f.balancer == nil || !strings.HasSuffix(r.URL.Path, f.balancer.ID):
		write(w, 404, map[string]string{"id": "not_found", "message": "the resource you requested could not be found"})
	case r.Method == http.MethodDelete:
		f.balancer = nil
		w.WriteHeader(204)
	case r.Method == http.MethodPut:
		f.keep(body)
		write(w, 200, map[string]any{"load_balancer": f.balancer})
	default:
		write(w, 200, map[string]any{"load_balancer": f.balancer})
	}
}

// keep takes name and type over from a request; a type once set stays, as at DigitalOcean.
func (f *fakeAccount) keep(body []byte) {
	var request godo.LoadBalancerRequest
	if err := json.Unmarshal(body, &request); err != nil {
		panic(err)
	}
	f.balancer.Name, f.balancer.DropletIDs = request.Name, request.DropletIDs
	if f.balancer.Type == "" {
		f.balancer.Type = request.Type
	}
}

func (f *fakeAccount) activate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.balancer.Status, f.balancer.IP = "active", "127.77.1.10"
}

func (f *fakeAccount) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	requests := f.requests
	f.requests = nil
	return requests
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

// bench is a Service in a fake cluster, a fake account and the plug-in between them.
type bench struct {
	t       *testing.T
	account *fakeAccount
	kube    *fake.Clientset
	plugin  *loadBalancers
	nodes   []*v1.Node
	name    string
}

func newBench(t *testing.T, service *v1.Service) *bench {
	account := &fakeAccount{}
	server := httptest.NewServer(account)
	t.Cleanup(server.Close)
	kube := fake.NewClientset(service)
	plugin, err := newLoadBalancers(Config{
		APIURL: server.URL, Token: "t", ClusterID: "CLUSTER", Region: "nyc3", VPCID: "VPC", Log: slog.New(slog.DiscardHandler),
	}, kube)
	if err != nil {
		t.Fatal(err)
	}
	nodes := []*v1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}}
	return &bench{t, account, kube, plugin, nodes, service.Name}
}

func (b *bench) service() *v1.Service {
	service, err := b.kube.CoreV1().Services("shop").Get(b.t.Context(), b.name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return service
}

func (b *bench) ensure() (*v1.LoadBalancerStatus, error) {
	return b.plugin.EnsureLoadBalancer(context.Background(), "", b.service(), b.nodes)
}

func (b *bench) wantRequests(want ...string) {
	b.t.Helper()
	if got := b.account.asked(); !slices.Equal(got, want) {
		b.t.Errorf("want requests %q, got %q", want, got)
	}
}

const firstPage = "?page=1&per_page=50"

func TestNewThenActive(t *testing.T) {
	b := newBench(t, webService("type", "REGIONAL"))
	_, err := b.ensure()
	var retry *api.RetryError
	if !errors.As(err, &retry) || retry.RetryAfter() != 15*time.Second || err.Error() != "load-balancer is currently being created" {
		t.Fatalf("want a retry after 15 s, got %v", err)
	}
	b.wantRequests("GET /v2/load_balancers"+firstPage, "GET /v2/droplets"+firstPage, "POST /v2/load_balancers")
	if got := b.service().Annotations; got[annotationID] != "lb-1" || got[annotationType] != "REGIONAL" {
		t.Errorf("annotations are %v", got)
	}

	b.account.activate()
	b.nodes[0].Spec.ProviderID = "digitalocean://1001"
	shown, err := b.ensure()
	if err != nil {
		t.Fatal(err)
	}
	b.wantRequests("GET /v2/load_balancers/lb-1", "PUT /v2/load_balancers/lb-1")
	if len(shown.Ingress) != 1 || shown.Ingress[0].IP != "127.77.1.10" || *shown.Ingress[0].IPMode != v1.LoadBalancerIPModeVIP {
		t.Errorf("status is %+v", shown)
	}
	if !slices.Equal(b.account.balancer.DropletIDs, []int{1001}) {
		t.Errorf("droplets are %v", b.account.balancer.DropletIDs)
	}
}

func TestHostnameReplacesTheAddress(t *testing.T) {
	b := newBench(t, webService("hostname", "shop.example.com"))
	_, _ = b.ensure()
	b.account.activate()
	shown, err := b.ensure()
	if err != nil || len(shown.Ingress) != 1 || shown.Ingress[0].Hostname != "shop.example.com" || shown.Ingress[0].IP != "" {
		t.Errorf("status is %+v, error %v", shown, err)
	}
}

func TestTypeIsStampedBack(t *testing.T) {
	b := newBench(t, webService("type", "REGIONAL"))
	_, _ = b.ensure()
	b.account.activate()
	changed := b.service()
	changed.Annotations[annotationType] = "REGIONAL_NETWORK"
	if _, err := b.kube.CoreV1().Services("shop").Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ensure(); err != nil {
		t.Fatal(err)
	}
	if got := b.service().Annotations[annotationType]; got != "REGIONAL" {
		t.Errorf("the type annotation is %s", got)
	}
}

func TestDeletedBehindItsBack(t *testing.T) {
	b := newBench(t, webService())
	_, _ = b.ensure()
	b.account.balancer = nil
	b.account.asked()
	_, _ = b.ensure()
	b.wantRequests("GET /v2/load_balancers/lb-1", "GET /v2/droplets"+firstPage, "POST /v2/load_balancers")
}

func TestDeletion(t *testing.T) {
	b := newBench(t, webService())
	_, _ = b.ensure()
	b.account.asked()
	if _, exists, err := b.plugin.GetLoadBalancer(t.Context(), "", b.service()); err != nil || !exists {
		t.Fatalf("exists %v, error %v", exists, err)
	}
	if err := b.plugin.EnsureLoadBalancerDeleted(t.Context(), "", b.service()); err != nil {
		t.Fatal(err)
	}
	b.wantRequests("GET /v2/load_balancers/lb-1", "GET /v2/load_balancers/lb-1", "DELETE /v2/load_balancers/lb-1")
	if err := b.plugin.EnsureLoadBalancerDeleted(t.Context(), "", b.service()); err != nil {
		t.Errorf("a load balancer that is gone: %v", err)
	}
}

func TestErroredIsNotRetriedSoon(t *testing.T) {
	b := newBench(t, webService())
	_, _ = b.ensure()
	b.account.balancer.Status = "errored"
	_, err := b.ensure()
	var retry *api.RetryError
	if err == nil || errors.As(err, &retry) {
		t.Errorf("want an ordinary error, got %v", err)
	}
}

func TestDisownedIsLeftAlone(t *testing.T) {
	service := webService()
	service.Annotations[annotationDisown] = "true"
	b := newBench(t, service)
	if _, err := b.ensure(); err != nil {
		t.Fatal(err)
	}
	b.wantRequests()
}

func TestAMistakeSendsNothing(t *testing.T) {
	b := newBench(t, webService("type", "REGIONAL", "size-unit", "abc"))
	_, err := b.ensure()
	if err == nil || !strings.Contains(err.Error(), `failed to build load-balancer request: invalid LB size unit "abc"`) {
		t.Errorf("error is %v", err)
	}
	if slices.ContainsFunc(b.account.asked(), func(r string) bool { return strings.HasPrefix(r, "POST") }) {
		t.Error("a load balancer was asked for")
	}
}
