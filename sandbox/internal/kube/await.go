package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Await watches the objects of a resource, in one namespace or in none, until each of the named ones has the condition
// with the status True.
func (c *Client) Await(ctx context.Context, resource schema.GroupVersionResource, namespace, condition string, names ...string) error {
	objects := c.dynamic.Resource(resource).Namespace(namespace)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return objects.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return objects.Watch(ctx, o)
		},
	}
	missing := map[string]bool{}
	for _, name := range names {
		missing[name] = true
	}
	if len(missing) == 0 {
		return nil
	}
	_, err := watchtools.UntilWithSync(ctx, source, &unstructured.Unstructured{}, nil, func(event watch.Event) (bool, error) {
		if object, ok := event.Object.(*unstructured.Unstructured); ok && isTrue(object, condition) {
			delete(missing, object.GetName())
		}
		return len(missing) == 0, nil
	})
	if err != nil {
		waiting := slices.Sorted(maps.Keys(missing))
		return fmt.Errorf("wait for %s %s to be %s: %w", resource.Resource, strings.Join(waiting, ", "), condition, err)
	}
	return nil
}

// isTrue says whether an object's status holds the condition with the status True.
func isTrue(object *unstructured.Unstructured, condition string) bool {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions") // no status yet is no condition
	return slices.ContainsFunc(conditions, func(entry any) bool {
		fields, _ := entry.(map[string]any)
		return fields["type"] == condition && fields["status"] == "True"
	})
}
