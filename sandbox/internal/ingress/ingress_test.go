package ingress

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
)

func TestMissingProgramsAreNamedWithTheCure(t *testing.T) {
	contour := filepath.Join(t.TempDir(), "contour")
	if err := os.WriteFile(contour, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Config{Contour: contour, Envoy: "/nowhere/envoy", Definitions: contour}, nil)
	if err == nil || !strings.Contains(err.Error(), "/nowhere/envoy") || !strings.Contains(err.Error(), "sandbox/build.sh") {
		t.Errorf("error is %v", err)
	}
}

// TestNothingIsPulled holds the manifests to what the node has: every container runs a mounted program, in the image
// that is always there.
func TestNothingIsPulled(t *testing.T) {
	config := Config{Contour: "/state/bin/contour", Envoy: "/state/bin/envoy"}
	objects, err := kube.Parse(config.manifests())
	if err != nil {
		t.Fatal(err)
	}
	mounted := map[string]bool{}
	for _, object := range objects {
		if object.GetKind() != "Deployment" {
			continue
		}
		deployment := &apps.Deployment{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, deployment, true); err != nil {
			t.Fatal(err)
		}
		pod := deployment.Spec.Template.Spec
		for _, container := range append(pod.InitContainers, pod.Containers...) {
			if container.Image != "sandbox.local/pause:1" || container.ImagePullPolicy != "Never" {
				t.Errorf("container %s runs %s, %s", container.Name, container.Image, container.ImagePullPolicy)
			}
		}
		for _, volume := range pod.Volumes {
			if volume.HostPath != nil {
				mounted[volume.HostPath.Path] = true
			}
		}
	}
	for _, program := range []string{config.Contour, config.Envoy} {
		if !mounted[program] {
			t.Errorf("%s is mounted nowhere", program)
		}
	}
}

func TestThereIsAClassForIngressAndAGatewayForRoutes(t *testing.T) {
	objects, err := kube.Parse(Config{}.manifests())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, object := range objects {
		kinds[object.GetKind()] = object.GetNamespace() + "/" + object.GetName()
	}
	for kind, want := range map[string]string{"IngressClass": "/contour", "GatewayClass": "/contour", "Gateway": "projectcontour/contour"} {
		if kinds[kind] != want {
			t.Errorf("%s is %q, want %q", kind, kinds[kind], want)
		}
	}
}

func TestTheGatewayHasACertificateThatCanBeServed(t *testing.T) {
	text, err := certificateSecret()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := kube.Parse([]byte(text))
	if err != nil || len(objects) != 1 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	secret := &core.Secret{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(objects[0].Object, secret, true); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"]); err != nil || secret.Type != core.SecretTypeTLS {
		t.Errorf("type %s: %v", secret.Type, err)
	}
}
