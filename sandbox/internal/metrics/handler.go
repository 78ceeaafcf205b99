package metrics

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	api "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// window is the time over which the kubelet averages CPU use.
const window = 10 * time.Second

// root is where the API group is served.
const root = "/apis/metrics.k8s.io/v1beta1"

// source gives the node's numbers and when they were taken.
type source interface {
	read(ctx context.Context) (*stats.Summary, time.Time, error)
}

// handler answers the resource metrics API:
// https://github.com/kubernetes/design-proposals-archive/blob/main/instrumentation/resource-metrics-api.md
type handler struct {
	source source
	pods   corelisters.PodLister
}

// newHandler serves the group with the numbers of the source and the labels of the pods.
func newHandler(source source, pods corelisters.PodLister) http.Handler {
	h := &handler{source, pods}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+root, func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, resources()) })
	mux.HandleFunc("GET "+root+"/nodes", h.answer(h.nodes))
	mux.HandleFunc("GET "+root+"/nodes/{name}", h.answer(h.node))
	mux.HandleFunc("GET "+root+"/pods", h.answer(h.podList))
	mux.HandleFunc("GET "+root+"/namespaces/{namespace}/pods", h.answer(h.podList))
	mux.HandleFunc("GET "+root+"/namespaces/{namespace}/pods/{name}", h.answer(h.pod))
	return mux
}

// resources tells clients what the group holds.
func resources() metav1.APIResourceList {
	verbs := metav1.Verbs{"get", "list"}
	return metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: api.SchemeGroupVersion.String(),
		APIResources: []metav1.APIResource{
			{Name: "nodes", Kind: "NodeMetrics", Verbs: verbs},
			{Name: "pods", Kind: "PodMetrics", Namespaced: true, Verbs: verbs},
		},
	}
}

// numbers is what the node says, and when it said it.
type numbers struct {
	*stats.Summary
	at metav1.Time
}

// answer turns a function of the node's numbers into a handler.
func (h *handler) answer(make func(*http.Request, numbers) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		summary, at, err := h.source.read(r.Context())
		if err != nil {
			fail(w, apierrors.NewServiceUnavailable(err.Error()))
			return
		}
		body, err := make(r, numbers{summary, metav1.NewTime(at)})
		if err != nil {
			fail(w, err)
			return
		}
		write(w, http.StatusOK, body)
	}
}

// nodes is the list of the one node.
func (h *handler) nodes(_ *http.Request, from numbers) (any, error) {
	return api.NodeMetricsList{TypeMeta: kind("NodeMetricsList"), Items: []api.NodeMetrics{nodeMetrics(from)}}, nil
}

// node is the one node, by its name.
func (h *handler) node(r *http.Request, from numbers) (any, error) {
	if name := r.PathValue("name"); name != from.Node.NodeName {
		return nil, apierrors.NewNotFound(api.Resource("nodes"), name)
	}
	return nodeMetrics(from), nil
}

// nodeMetrics is what the node uses in all.
func nodeMetrics(from numbers) api.NodeMetrics {
	return api.NodeMetrics{
		TypeMeta: kind("NodeMetrics"), ObjectMeta: metav1.ObjectMeta{Name: from.Node.NodeName},
		Timestamp: from.at, Window: metav1.Duration{Duration: window}, Usage: usage(from.Node.CPU, from.Node.Memory),
	}
}

// podList is the pods of a namespace, or of all, whose labels the selector of the query fits.
func (h *handler) podList(r *http.Request, from numbers) (any, error) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	list := api.PodMetricsList{TypeMeta: kind("PodMetricsList"), Items: []api.PodMetrics{}}
	for _, pod := range from.Pods {
		namespace := r.PathValue("namespace")
		if namespace != "" && namespace != pod.PodRef.Namespace {
			continue
		}
		if metrics, ok := h.podMetrics(pod, from.at); ok && selector.Matches(labels.Set(metrics.Labels)) {
			list.Items = append(list.Items, metrics)
		}
	}
	return list, nil
}

// pod is one pod, by its name.
func (h *handler) pod(r *http.Request, from numbers) (any, error) {
	for _, pod := range from.Pods {
		if pod.PodRef.Namespace == r.PathValue("namespace") && pod.PodRef.Name == r.PathValue("name") {
			if metrics, ok := h.podMetrics(pod, from.at); ok {
				return metrics, nil
			}
		}
	}
	return nil, apierrors.NewNotFound(api.Resource("pods"), r.PathValue("name"))
}

// podMetrics joins the numbers of a pod with its labels. There are none for a pod that is gone, or of which a container
// has not been measured yet: half a sum would mislead an autoscaler.
func (h *handler) podMetrics(pod stats.PodStats, at metav1.Time) (api.PodMetrics, bool) {
	object, err := h.pods.Pods(pod.PodRef.Namespace).Get(pod.PodRef.Name)
	if err != nil {
		return api.PodMetrics{}, false
	}
	metrics := api.PodMetrics{
		TypeMeta:   kind("PodMetrics"),
		ObjectMeta: metav1.ObjectMeta{Name: pod.PodRef.Name, Namespace: pod.PodRef.Namespace, Labels: object.Labels},
		Timestamp:  at, Window: metav1.Duration{Duration: window},
	}
	for _, container := range pod.Containers {
		used := usage(container.CPU, container.Memory)
		if len(used) < 2 {
			return api.PodMetrics{}, false
		}
		metrics.Containers = append(metrics.Containers, api.ContainerMetrics{Name: container.Name, Usage: used})
	}
	return metrics, len(metrics.Containers) > 0
}

// usage is what was measured: CPU as an average over the window, memory as the working set.
func usage(cpu *stats.CPUStats, memory *stats.MemoryStats) v1.ResourceList {
	used := v1.ResourceList{}
	if cpu != nil && cpu.UsageNanoCores != nil {
		used[v1.ResourceCPU] = *resource.NewScaledQuantity(int64(*cpu.UsageNanoCores), resource.Nano)
	}
	if memory != nil && memory.WorkingSetBytes != nil {
		used[v1.ResourceMemory] = *resource.NewQuantity(int64(*memory.WorkingSetBytes), resource.BinarySI)
	}
	return used
}

// kind is the type of an answer.
func kind(name string) metav1.TypeMeta {
	return metav1.TypeMeta{Kind: name, APIVersion: api.SchemeGroupVersion.String()}
}

// fail answers as the API server does.
func fail(w http.ResponseWriter, err error) {
	status := apierrors.NewInternalError(err).Status()
	if known, ok := err.(apierrors.APIStatus); ok { //nolint:errorlint // made here, never wrapped
		status = known.Status()
	}
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	write(w, int(status.Code), status)
}

// write answers with JSON.
func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the caller may have gone away
}
