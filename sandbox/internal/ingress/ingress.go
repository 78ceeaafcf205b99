// Package ingress installs Contour and Envoy into the cluster, so that Ingress and the Gateway API work.
//
// Envoy stands behind a Service of type LoadBalancer, as on a real cluster. Ingresses of the class "contour", which is
// the default, and routes of the Gateway projectcontour/contour are served there.
package ingress

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"time"

	apps "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
)

//go:embed manifests.yaml
var manifests string

// agent is the field manager of what is installed.
const agent = "sandbox-ingress"

// namespace holds Contour and Envoy.
const namespace = "projectcontour"

// patience bounds the installation. It takes a few seconds; a busy machine may need many times that.
const patience = 3 * time.Minute

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	deployments = apps.SchemeGroupVersion.WithResource("deployments")
)

// Config says where the cluster and the programs are. The cluster's node sees the programs at the same paths.
type Config struct {
	Kubeconfig  string // of an administrator
	Contour     string // Contour's program
	Envoy       string // Envoy's program
	Definitions string // YAML file with the definitions of Gateway API and Contour
}

// Run installs, calls ready once requests would be served, and then has nothing to do until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	if err := config.check(); err != nil {
		return err
	}
	client, err := kube.New(config.Kubeconfig, agent)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := install(limited, client, config); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	ready("Contour and Envoy: Ingress class contour, Gateway " + namespace + "/contour")
	<-ctx.Done()
	return nil
}

// check looks for the programs: a pod that cannot mount one would wait without a word.
func (c Config) check() error {
	for _, file := range []string{c.Contour, c.Envoy, c.Definitions} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%w: build the sandbox with sandbox/build.sh, which fetches it", err)
		}
	}
	return nil
}

// install applies the definitions, waits until the API server serves them (Contour ends if they are missing), and
// applies the rest.
func install(ctx context.Context, client *kube.Client, config Config) error {
	text, err := os.ReadFile(config.Definitions)
	if err != nil {
		return err
	}
	defined, err := kube.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", config.Definitions, err)
	}
	for _, definition := range defined {
		unstructured.RemoveNestedField(definition.Object, "status") // the generator of the files leaves an empty one
	}
	if err := client.ApplyAll(ctx, defined); err != nil {
		return err
	}
	if err := client.Await(ctx, definitions, "", "Established", names(defined)...); err != nil {
		return err
	}
	secret, err := certificateSecret()
	if err != nil {
		return err
	}
	if err := client.Apply(ctx, append(config.manifests(), "\n---\n"+secret...)); err != nil {
		return err
	}
	return client.Await(ctx, deployments, namespace, "Available", "contour", "envoy")
}

// manifests are the objects with the programs' paths filled in.
func (c Config) manifests() []byte {
	return []byte(strings.NewReplacer("{contour}", c.Contour, "{envoy}", c.Envoy).Replace(manifests))
}

// names are the objects' names.
func names(objects []*unstructured.Unstructured) []string {
	var all []string
	for _, object := range objects {
		all = append(all, object.GetName())
	}
	return all
}
