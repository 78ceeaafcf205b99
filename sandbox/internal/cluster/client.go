package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// client talks to the new cluster as the sandbox's own administrator.
type client struct{ *kube.Client }

// waitForAPI asks /readyz until the API server says yes: before that there is nothing to watch.
func (c client) waitForAPI(ctx context.Context) error {
	for {
		answer, err := c.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(5 * time.Second).DoRaw(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready: %w: %s", err, strings.TrimSpace(string(answer)))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c client) waitForNode(ctx context.Context) error {
	nodes := c.CoreV1().Nodes()
	source := &cache.ListWatch{
		ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return nodes.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return nodes.Watch(ctx, o) },
	}
	_, err := watchtools.UntilWithSync(ctx, source, &corev1.Node{}, nil, func(event watch.Event) (bool, error) {
		node, ok := event.Object.(*corev1.Node)
		return ok && node.Name == settings.NodeName && nodeReady(node), nil
	})
	if err != nil {
		return fmt.Errorf("the node did not get ready: %w", err)
	}
	return nil
}

func nodeReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (c client) waitForDNS(ctx context.Context) error {
	deployments := c.AppsV1().Deployments("kube-system")
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return deployments.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return deployments.Watch(ctx, o)
		},
	}
	_, err := watchtools.UntilWithSync(ctx, source, &appsv1.Deployment{}, nil, func(event watch.Event) (bool, error) {
		deployment, ok := event.Object.(*appsv1.Deployment)
		return ok && deployment.Name == "coredns" && deployment.Status.AvailableReplicas > 0, nil
	})
	if err != nil {
		return fmt.Errorf("CoreDNS did not get ready: %w", err)
	}
	return nil
}
