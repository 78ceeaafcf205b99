// Package kube makes clients for the cluster and applies manifests to it, for the parts of the sandbox that live in the
// cluster.
package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// listed is how long the API server may take to list a new definition.
const listed = 20 * time.Second

// Client speaks to one cluster.
type Client struct {
	kubernetes.Interface
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	agent   string
}

// New reads a kubeconfig. The agent names the caller: it stands in the audit log and becomes the field manager.
func New(kubeconfig, agent string) (*Client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", kubeconfig, err)
	}
	config.UserAgent = agent
	config.QPS, config.Burst = 100, 200 // the defaults, 5 and 10, delay a small cluster by seconds
	return forConfig(config, agent)
}

// forConfig makes the clients that share a configuration.
func forConfig(config *rest.Config, agent string) (*Client, error) {
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(typed.Discovery()))
	return &Client{typed, untyped, mapper, agent}, nil
}

// Apply applies every object of a YAML stream on the server's side, in order, and its status if it is given one.
func (c *Client) Apply(ctx context.Context, stream []byte) error {
	objects, err := Parse(stream)
	if err != nil {
		return err
	}
	return c.ApplyAll(ctx, objects)
}

// ApplyAll is Apply for objects that were read already.
func (c *Client) ApplyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		if err := c.apply(ctx, object); err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// apply writes one object, and then its status.
func (c *Client) apply(ctx context.Context, object *unstructured.Unstructured) error {
	mapping, err := c.mapping(ctx, object.GroupVersionKind())
	if err != nil {
		return err
	}
	options := metav1.ApplyOptions{FieldManager: c.agent, Force: true}
	objects := c.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace())
	if _, err := objects.Apply(ctx, object.GetName(), object, options); err != nil {
		return err
	}
	if _, has := object.Object["status"]; !has {
		return nil
	}
	// A status is a resource of its own, which the first request has left alone.
	_, err = objects.ApplyStatus(ctx, object.GetName(), object, options)
	return err
}

// mapping finds the resource of a kind. The API server lists a new definition a moment after it is established, and
// that list cannot be watched: so a kind that is missing is looked for again, for a while.
func (c *Client) mapping(ctx context.Context, kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	deadline := time.Now().Add(listed)
	for {
		mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if !meta.IsNoMatchError(err) || time.Now().After(deadline) {
			return mapping, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
			c.mapper.Reset()
		}
	}
}

// Parse reads the objects of a YAML stream. Empty documents are left out.
func Parse(stream []byte) ([]*unstructured.Unstructured, error) {
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(stream), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		if err := documents.Decode(object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("object %d of the manifest: %w", len(objects)+1, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
