package cloudcontroller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/digitalocean/godo"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/cloud-provider/api"
)

// perPage is the size of the pages in which lists are read.
const perPage = 50

// shortestRetry keeps the controller from asking without pause.
const shortestRetry = 100 * time.Millisecond

// errNotFound says that the Service has no load balancer in the account.
var errNotFound = errors.New("load-balancer not found")

// loadBalancers keeps a DigitalOcean load balancer for each Service of type LoadBalancer.
type loadBalancers struct {
	api   *godo.Client
	kube  kubernetes.Interface
	at    place
	retry func() time.Duration // how soon a load balancer that is being made is looked at again
	log   *slog.Logger
}

// GetLoadBalancerName is the name that the Service's load balancer has or would have.
func (l *loadBalancers) GetLoadBalancerName(_ context.Context, _ string, service *v1.Service) string {
	return loadBalancerName(service)
}

// GetLoadBalancer looks the Service's load balancer up.
func (l *loadBalancers) GetLoadBalancer(ctx context.Context, _ string, service *v1.Service) (*v1.LoadBalancerStatus, bool, error) {
	balancer, err := l.find(ctx, service)
	if errors.Is(err, errNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return status(service, balancer), true, nil
}

// EnsureLoadBalancer makes or updates the load balancer and answers its address. One that is not active yet is an
// error that asks for another try later, so that the reason stands in the Service's events meanwhile.
func (l *loadBalancers) EnsureLoadBalancer(ctx context.Context, _ string, service *v1.Service, nodes []*v1.Node) (*v1.LoadBalancerStatus, error) {
	if disowned(service) {
		return &service.Status.LoadBalancer, nil
	}
	balancer, err := l.find(ctx, service)
	switch {
	case errors.Is(err, errNotFound):
		balancer, err = l.create(ctx, service, nodes)
	case err == nil:
		balancer, err = l.update(ctx, balancer, service, nodes)
	}
	if err != nil {
		return nil, err
	}
	switch balancer.Status {
	case "active":
		return status(service, balancer), nil
	case "errored":
		return nil, fmt.Errorf("load-balancer %s is in state errored: delete the Service and create it again", balancer.ID)
	}
	return nil, api.NewRetryError("load-balancer is currently being created", max(l.retry(), shortestRetry))
}

// UpdateLoadBalancer sends the load balancer again, with another set of nodes.
func (l *loadBalancers) UpdateLoadBalancer(ctx context.Context, _ string, service *v1.Service, nodes []*v1.Node) error {
	if disowned(service) {
		return nil
	}
	balancer, err := l.find(ctx, service)
	if err != nil {
		return err
	}
	_, err = l.update(ctx, balancer, service, nodes)
	return err
}

// EnsureLoadBalancerDeleted deletes the load balancer; one that is gone already is as good.
func (l *loadBalancers) EnsureLoadBalancerDeleted(ctx context.Context, _ string, service *v1.Service) error {
	if disowned(service) {
		return nil
	}
	balancer, err := l.find(ctx, service)
	if errors.Is(err, errNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	response, err := l.api.LoadBalancers.Delete(ctx, balancer.ID)
	if err != nil && !isNotFound(response) {
		return fmt.Errorf("failed to delete load-balancer %s: %w", balancer.ID, err)
	}
	l.log.Info("load balancer deleted", "service", service.Namespace+"/"+service.Name, "id", balancer.ID)
	return nil
}

// find reads the load balancer by the id in the annotation, else by name among all of the account: first the name
// that the Service asks for, then the one made from its UID.
func (l *loadBalancers) find(ctx context.Context, service *v1.Service) (*godo.LoadBalancer, error) {
	if id := service.Annotations[annotationID]; id != "" {
		balancer, response, err := l.api.LoadBalancers.Get(ctx, id)
		if isNotFound(response) {
			return nil, errNotFound
		}
		return balancer, err
	}
	all, err := pages(ctx, l.api.LoadBalancers.List)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{loadBalancerName(service), defaultName(service)} {
		for _, balancer := range all {
			if balancer.Name == name {
				return &balancer, l.annotate(ctx, service, &balancer)
			}
		}
	}
	return nil, errNotFound
}

// create asks for a new load balancer and notes it on the Service at once, so that it is never made twice.
func (l *loadBalancers) create(ctx context.Context, service *v1.Service, nodes []*v1.Node) (*godo.LoadBalancer, error) {
	request, err := l.request(ctx, service, nodes)
	if err != nil {
		return nil, err
	}
	balancer, _, err := l.api.LoadBalancers.Create(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("failed to create load-balancer: %w", err)
	}
	l.log.Info("load balancer asked for", "service", service.Namespace+"/"+service.Name, "id", balancer.ID, "type", balancer.Type)
	return balancer, l.annotate(ctx, service, balancer)
}

// update writes the load balancer's real type back into the annotation before it builds the request: a type cannot be
// changed, and DigitalOcean's controller undoes the attempt in the same way.
func (l *loadBalancers) update(ctx context.Context, balancer *godo.LoadBalancer, service *v1.Service, nodes []*v1.Node) (*godo.LoadBalancer, error) {
	if err := l.annotate(ctx, service, balancer); err != nil {
		return nil, err
	}
	stamped := service.DeepCopy()
	metav1.SetMetaDataAnnotation(&stamped.ObjectMeta, annotationType, balancer.Type)
	request, err := l.request(ctx, stamped, nodes)
	if err != nil {
		return nil, err
	}
	updated, _, err := l.api.LoadBalancers.Update(ctx, balancer.ID, request)
	if err != nil {
		return nil, fmt.Errorf("failed to update load-balancer with ID %s: %w", balancer.ID, err)
	}
	return updated, nil
}

// request describes the load balancer that the Service wants on these nodes.
func (l *loadBalancers) request(ctx context.Context, service *v1.Service, nodes []*v1.Node) (*godo.LoadBalancerRequest, error) {
	droplets, err := l.droplets(ctx, nodes)
	if err != nil {
		return nil, err
	}
	request, err := buildRequest(service, droplets, l.at)
	if err != nil {
		return nil, fmt.Errorf("failed to build load-balancer request: %w", err)
	}
	return request, nil
}

// annotate writes the load balancer's id and type on the Service, where they are not there already.
func (l *loadBalancers) annotate(ctx context.Context, service *v1.Service, balancer *godo.LoadBalancer) error {
	if service.Annotations[annotationID] == balancer.ID && service.Annotations[annotationType] == balancer.Type {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{annotationID: balancer.ID, annotationType: balancer.Type},
	}})
	if err != nil {
		return err
	}
	_, err = l.kube.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("failed to annotate the Service with load-balancer %s: %w", balancer.ID, err)
	}
	return nil
}

// status is what the Service shows: the host name it asks for, else the addresses.
func status(service *v1.Service, balancer *godo.LoadBalancer) *v1.LoadBalancerStatus {
	if name := service.Annotations[annotationHostname]; name != "" {
		return &v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{Hostname: name}}}
	}
	shown := &v1.LoadBalancerStatus{}
	for _, address := range []string{balancer.IP, balancer.IPv6} {
		if address != "" {
			mode := v1.LoadBalancerIPModeVIP
			shown.Ingress = append(shown.Ingress, v1.LoadBalancerIngress{IP: address, IPMode: &mode})
		}
	}
	return shown
}

// disowned Services keep their load balancer as it is.
func disowned(service *v1.Service) bool { return service.Annotations[annotationDisown] == "true" }

// isNotFound is true for an answer of 404.
func isNotFound(response *godo.Response) bool {
	return response != nil && response.Response != nil && response.StatusCode == http.StatusNotFound
}

// pages reads a whole list, page after page.
func pages[T any](ctx context.Context, list func(context.Context, *godo.ListOptions) ([]T, *godo.Response, error)) ([]T, error) {
	var all []T
	for options := (&godo.ListOptions{Page: 1, PerPage: perPage}); ; options.Page++ {
		page, response, err := list(ctx, options)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if response.Links == nil || response.Links.IsLastPage() {
			return all, nil
		}
	}
}
