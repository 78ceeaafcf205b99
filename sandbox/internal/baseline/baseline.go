// Package baseline remembers which objects a cluster holds, and later takes away all others.
//
// It knows no kind by name: whatever the API server lists is compared, custom resources too. What Kubernetes itself
// comes and goes with (events, leases, endpoints, what an owner made) is left to it.
package baseline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/clientcmd"
)

// Baseline is a set of objects by resource, namespace and name.
type Baseline struct {
	discovery discovery.DiscoveryInterface
	objects   metadata.Interface
	known     map[string]bool
	except    Except
}

// Except tells objects that come and go by themselves, beside those that Kubernetes makes.
type Except func(resource, namespace, name string) bool

// transient are resources that the control plane and the kubelet write by themselves.
var transient = []string{
	"events", "leases", "endpoints", "endpointslices", "csinodes", "controllerrevisions", "componentstatuses",
	"certificatesigningrequests", "apiservices", "flowschemas", "prioritylevelconfigurations", "ipaddresses",
}

// patience bounds how long deleted objects may take to go.
const patience = time.Minute

// Take remembers what there is now.
func Take(ctx context.Context, kubeconfig string, except Except) (*Baseline, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 400
	b := &Baseline{known: map[string]bool{}, except: except}
	if b.discovery, err = discovery.NewDiscoveryClientForConfig(config); err != nil {
		return nil, err
	}
	if b.objects, err = metadata.NewForConfig(config); err != nil {
		return nil, err
	}
	all, err := b.list(ctx)
	for _, one := range all {
		b.known[one.key()] = true
	}
	return b, err
}

// Count is how many objects are remembered.
func (b *Baseline) Count() int { return len(b.known) }

// Restore deletes every object that was not there, and returns when the last one is gone. Pods get no time to end.
// Namespaces go last: a namespace that still holds pods takes half a minute to look again.
func (b *Baseline) Restore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.remove(ctx, func(one object) bool { return !one.isNamespace() }); err != nil {
		return err
	}
	return b.remove(ctx, func(object) bool { return true })
}

// remove deletes the strangers among the chosen objects until none is left.
func (b *Baseline) remove(ctx context.Context, chosen func(object) bool) error {
	for {
		all, err := b.list(ctx)
		if err != nil {
			return err
		}
		strangers := slices.DeleteFunc(all, func(one object) bool { return !chosen(one) || !b.isStranger(one) })
		if len(strangers) == 0 {
			return nil
		}
		if err := b.delete(ctx, strangers); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d objects do not go, %s among them: %w", len(strangers), strangers[0].key(), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// isStranger tells what has to go. What an owner made goes with its owner, but for pods: those that are on their way out
// or have lost their namespace are hurried.
func (b *Baseline) isStranger(one object) bool {
	if b.known[one.key()] {
		return false
	}
	if metav1.GetControllerOf(one) == nil {
		return true
	}
	lost := !b.known["namespaces /"+one.Namespace]
	return one.resource.Resource == "pods" && (lost || one.DeletionTimestamp != nil)
}

// object is one object's identity.
type object struct {
	resource schema.GroupVersionResource
	*metav1.PartialObjectMetadata
}

// key leaves the version out: the same object is served in several.
func (o object) key() string {
	return fmt.Sprintf("%s %s/%s", o.resource.GroupResource(), o.Namespace, o.Name)
}

// list gives every object that can be deleted.
func (b *Baseline) list(ctx context.Context) ([]object, error) {
	resources, err := b.resources()
	if err != nil {
		return nil, err
	}
	var (
		mu       sync.Mutex
		found    []object
		problems []error
		group    sync.WaitGroup
	)
	for _, resource := range resources {
		group.Go(func() {
			items, err := b.objects.Resource(resource).List(ctx, metav1.ListOptions{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) { // a custom resource that just went
					problems = append(problems, fmt.Errorf("list %s: %w", resource.Resource, err))
				}
				return
			}
			for i := range items.Items {
				if one := (object{resource, &items.Items[i]}); !one.automatic() && !b.except(resource.Resource, one.Namespace, one.Name) {
					found = append(found, one)
				}
			}
		})
	}
	group.Wait()
	return found, errors.Join(problems...)
}

// automatic tells whether Kubernetes makes the object by itself wherever it belongs.
func (o object) automatic() bool {
	switch o.resource.Resource {
	case "configmaps":
		return o.Name == "kube-root-ca.crt" || o.Namespace == "kube-system"
	case "serviceaccounts":
		return o.Name == "default"
	}
	return false
}

func (o object) isNamespace() bool { return o.resource.Resource == "namespaces" }

func (b *Baseline) resources() ([]schema.GroupVersionResource, error) {
	lists, err := b.discovery.ServerPreferredResources()
	if err != nil && len(lists) == 0 {
		return nil, fmt.Errorf("ask what resources there are: %w", err)
	}
	var all []schema.GroupVersionResource
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, lists) {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(transient, resource.Name) {
				all = append(all, version.WithResource(resource.Name))
			}
		}
	}
	return all, nil
}

// delete asks for the end of every object. It is called again until all are gone, so what is on its way is no error.
func (b *Baseline) delete(ctx context.Context, strangers []object) error {
	var (
		mu       sync.Mutex
		problems []error
		group    sync.WaitGroup
	)
	for _, one := range strangers {
		if one.DeletionTimestamp != nil && one.resource.Resource != "pods" {
			continue
		}
		group.Go(func() {
			now, background := int64(0), metav1.DeletePropagationBackground
			err := b.objects.Resource(one.resource).Namespace(one.Namespace).
				Delete(ctx, one.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, PropagationPolicy: &background})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				mu.Lock()
				problems = append(problems, fmt.Errorf("delete %s: %w", one.key(), err))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return errors.Join(problems...)
}
