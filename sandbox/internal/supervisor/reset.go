package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/seaway-deploy/seaway/sandbox/internal/baseline"
	"github.com/seaway-deploy/seaway/sandbox/internal/control"
	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// runBaseline remembers the cluster as it is when all that the sandbox puts into it is there.
func (s *sandbox) runBaseline(ctx context.Context, _ *slog.Logger, ready func(string)) error {
	taken, err := baseline.Take(ctx, s.settings.AdminKubeconfig(), isPullSecret)
	if err != nil {
		return fmt.Errorf("remember the seeded state: %w", err)
	}
	s.mu.Lock()
	s.baseline = taken
	s.mu.Unlock()
	ready(fmt.Sprintf("remembers %d objects for `sandbox reset`", taken.Count()))
	<-ctx.Done()
	return nil
}

// isPullSecret tells the Secrets of the registry integration.
func isPullSecret(resource, _, name string) bool {
	return resource == "secrets" && name == settings.RegistryName
}

// control is what resets the sandbox to its seeded state without a restart, and the API to do so.
func (s *sandbox) control() control.Config {
	return control.Config{
		Settings: s.settings, Account: s.account, GitHub: s.github, Rules: s.rules, Listen: s.listeners.Listen, Log: s.log,
		Reset: s.resetCluster, Reseeded: s.reconcile,
	}
}

func (s *sandbox) taken() *baseline.Baseline {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.baseline
}

// resetCluster comes before the rest: load balancers and volumes are then given back to the account in order.
func (s *sandbox) resetCluster(ctx context.Context) error {
	taken := s.taken()
	if taken == nil {
		return nil // a sandbox without a cluster
	}
	if err := taken.Restore(ctx); err != nil {
		return fmt.Errorf("reset the cluster: %w", err)
	}
	return nil
}

// reconcile makes the cloud controller notice that the account has forgotten the load balancers of Services that stay:
// a Service with a changed annotation is looked at again.
func (s *sandbox) reconcile(ctx context.Context) error {
	if s.taken() == nil {
		return nil
	}
	client, err := kube.New(s.settings.AdminKubeconfig(), "sandbox")
	if err != nil {
		return err
	}
	services, err := client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	change := fmt.Appendf(nil, `{"metadata":{"annotations":{"sandbox.test/reset":%q}}}`, time.Now().Format(time.RFC3339Nano))
	var problems []error
	for _, service := range services.Items {
		if service.Spec.Type == corev1.ServiceTypeLoadBalancer {
			_, err := client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, change, metav1.PatchOptions{})
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
