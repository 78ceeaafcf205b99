package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/seaway-deploy/seaway/sandbox/internal/baseline"
	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
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

// reset brings the sandbox back to its seeded state without a restart. The cluster comes first: its load balancers and
// volumes are then given back to the account in order.
func (s *sandbox) reset(ctx context.Context) error {
	s.mu.Lock()
	taken := s.baseline
	s.mu.Unlock()
	if taken != nil {
		if err := taken.Restore(ctx); err != nil {
			return fmt.Errorf("reset the cluster: %w", err)
		}
	}
	err := errors.Join(registry.Wipe(s.settings), s.account.Reset())
	if taken != nil {
		err = errors.Join(err, s.renewPullSecrets(ctx))
	}
	return err
}

// renewPullSecrets takes away the Secrets whose credentials went with the account; the integration makes new ones.
func (s *sandbox) renewPullSecrets(ctx context.Context) error {
	client, err := kube.New(s.settings.AdminKubeconfig(), "sandbox")
	if err != nil {
		return err
	}
	namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var problems []error
	for _, namespace := range namespaces.Items {
		err := client.CoreV1().Secrets(namespace.Name).Delete(ctx, settings.RegistryName, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
