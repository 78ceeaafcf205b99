package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	api "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// fixed is a node that always says the same.
type fixed struct {
	summary *stats.Summary
	err     error
}

func (f fixed) read(context.Context) (*stats.Summary, time.Time, error) {
	return f.summary, time.Unix(1_700_000_000, 0), f.err
}

func pointer(value uint64) *uint64 { return &value }

func measured(name string, nanoCores, bytes uint64) stats.ContainerStats {
	return stats.ContainerStats{Name: name, CPU: &stats.CPUStats{UsageNanoCores: pointer(nanoCores)}, Memory: &stats.MemoryStats{WorkingSetBytes: pointer(bytes)}}
}

func podStats(namespace, name string, containers ...stats.ContainerStats) stats.PodStats {
	return stats.PodStats{PodRef: stats.PodReference{Namespace: namespace, Name: name}, Containers: containers}
}

// bench is a node with a pod that is measured, one that is half measured, one of another namespace and one that is gone.
func bench(t *testing.T) http.Handler {
	index := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	for _, pod := range []*v1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Labels: map[string]string{"app": "web"}}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "young", Labels: map[string]string{"app": "web"}}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "db", Labels: map[string]string{"app": "db"}}},
	} {
		if err := index.Add(pod); err != nil {
			t.Fatal(err)
		}
	}
	summary := &stats.Summary{
		Node: stats.NodeStats{NodeName: "node-a", CPU: &stats.CPUStats{UsageNanoCores: pointer(1_500_000_000)}, Memory: &stats.MemoryStats{WorkingSetBytes: pointer(1 << 30)}},
		Pods: []stats.PodStats{
			podStats("shop", "web", measured("app", 250_000_000, 1<<20), measured("side", 1_000, 1<<10)),
			podStats("shop", "young", measured("app", 1, 1), stats.ContainerStats{Name: "side"}),
			podStats("shop", "gone", measured("app", 1, 1)),
			podStats("other", "db", measured("db", 1, 1)),
		},
	}
	return newHandler(fixed{summary: summary}, corelisters.NewPodLister(index))
}

// ask gives the status code and decodes the answer.
func ask(t *testing.T, handler http.Handler, path string, into any) int {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, root+path, nil))
	if err := json.Unmarshal(recorder.Body.Bytes(), into); err != nil {
		t.Fatalf("%s: %v: %s", path, err, recorder.Body)
	}
	return recorder.Code
}

func TestPodsAreChosenByNamespaceAndLabels(t *testing.T) {
	for path, want := range map[string][]string{
		"/pods":                 {"web", "db"},
		"/namespaces/shop/pods": {"web"},
		"/namespaces/shop/pods?labelSelector=app%3Dweb": {"web"},
		"/namespaces/shop/pods?labelSelector=app%3Ddb":  {},
	} {
		var list api.PodMetricsList
		if code := ask(t, bench(t), path, &list); code != http.StatusOK || list.Kind != "PodMetricsList" {
			t.Errorf("%s: %d %s", path, code, list.Kind)
		}
		names := map[string]bool{}
		for _, item := range list.Items {
			names[item.Name] = true
		}
		if len(names) != len(want) {
			t.Errorf("%s: want %v, got %v", path, want, names)
		}
		for _, name := range want {
			if !names[name] {
				t.Errorf("%s: %s is missing in %v", path, name, names)
			}
		}
	}
}

func TestUnitsAreKubernetes(t *testing.T) {
	var pod api.PodMetrics
	if code := ask(t, bench(t), "/namespaces/shop/pods/web", &pod); code != http.StatusOK || len(pod.Containers) != 2 {
		t.Fatalf("%d %+v", code, pod)
	}
	if used := pod.Containers[0].Usage; used.Cpu().MilliValue() != 250 || used.Memory().String() != "1Mi" {
		t.Errorf("usage is %v", used)
	}
	var node api.NodeMetrics
	if code := ask(t, bench(t), "/nodes/node-a", &node); code != http.StatusOK || node.Usage.Cpu().MilliValue() != 1500 || node.Usage.Memory().String() != "1Gi" {
		t.Errorf("%d %+v", code, node)
	}
}

func TestFailuresAreStatuses(t *testing.T) {
	silent := newHandler(fixed{err: errors.New("no answer")}, nil)
	for _, test := range []struct {
		handler http.Handler
		path    string
		code    int
		reason  metav1.StatusReason
	}{
		{bench(t), "/namespaces/shop/pods/gone", 404, metav1.StatusReasonNotFound},
		{bench(t), "/nodes/node-b", 404, metav1.StatusReasonNotFound},
		{bench(t), "/pods?labelSelector=%21%21", 400, metav1.StatusReasonBadRequest},
		{silent, "/pods", 503, metav1.StatusReasonServiceUnavailable},
	} {
		var status metav1.Status
		if code := ask(t, test.handler, test.path, &status); code != test.code || status.Kind != "Status" || status.Reason != test.reason {
			t.Errorf("%s: want %d %s, got %d %+v", test.path, test.code, test.reason, code, status)
		}
	}
}

func TestDiscovery(t *testing.T) {
	var list metav1.APIResourceList
	if code := ask(t, bench(t), "", &list); code != http.StatusOK || len(list.APIResources) != 2 || list.GroupVersion != "metrics.k8s.io/v1beta1" {
		t.Errorf("%d %+v", code, list)
	}
}
