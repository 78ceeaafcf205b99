package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
)

var widgets = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}

// widget is an object whose condition Ready has the status.
func widget(name, status string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget", "metadata": map[string]any{"name": name, "namespace": "shop"},
		"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": status}}},
	}}
}

func clientWith(objects ...runtime.Object) *Client {
	kinds := map[schema.GroupVersionResource]string{widgets: "WidgetList"}
	return &Client{dynamic: fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, objects...)}
}

func TestAwaitSeesWhatIsReadyAndWhatBecomesSo(t *testing.T) {
	client := clientWith(widget("early", "True"), widget("late", "False"))
	ended := make(chan error)
	go func() { ended <- client.Await(t.Context(), widgets, "shop", "Ready", "early", "late") }()
	// Repeated, because the watch may begin after the first change; it must see one of them.
	for {
		_, err := client.dynamic.Resource(widgets).Namespace("shop").Update(t.Context(), widget("late", "True"), metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestAwaitNamesWhatItWaitedFor(t *testing.T) {
	client := clientWith(widget("early", "True"), widget("never", "False"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := client.Await(ctx, widgets, "shop", "Ready", "early", "never")
	if err == nil || !strings.Contains(err.Error(), "wait for widgets never to be Ready") {
		t.Errorf("error is %v", err)
	}
	if errors.Is(err, context.Canceled) {
		t.Errorf("a deadline is not a cancellation: %v", err)
	}
}
