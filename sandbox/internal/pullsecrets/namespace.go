package pullsecrets

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

const (
	annotationOrigin = "digitalocean.com/dosecret-identifier" // on the Secret in kube-system
	labelCopy        = "digitalocean.com/copy-identifier"     // on its copies
	origin           = "kube-system"
	defaultAccount   = "default"
)

// sync brings one namespace to what it should hold.
func (i *integration) sync(ctx context.Context, name string) error {
	namespace, err := i.namespaces.Get(name)
	if apierrors.IsNotFound(err) || err == nil && namespace.DeletionTimestamp != nil {
		return nil
	}
	if err != nil {
		return err
	}
	registries := i.registries()
	for _, registry := range registries {
		if err := i.ensureSecret(ctx, name, registry); err != nil {
			return err
		}
		if err := i.ensureReference(ctx, name, registry); err != nil {
			return err
		}
	}
	return i.removeOthers(ctx, name, registries)
}

// ensureSecret writes the registry's Secret where it is missing or differs.
func (i *integration) ensureSecret(ctx context.Context, namespace, registry string) error {
	wanted, err := i.secret(namespace, registry)
	if err != nil {
		return err
	}
	secrets := i.client.CoreV1().Secrets(namespace)
	existing, err := i.secrets.Secrets(namespace).Get(registry)
	switch {
	case apierrors.IsNotFound(err):
		_, err = secrets.Create(ctx, wanted, metav1.CreateOptions{})
	case err == nil && !bytes.Equal(existing.Data[v1.DockerConfigJsonKey], wanted.Data[v1.DockerConfigJsonKey]):
		_, err = secrets.Update(ctx, wanted, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("Secret %s/%s: %w", namespace, registry, err)
	}
	return nil
}

// secret is the registry's Secret: the original in kube-system, a copy elsewhere.
func (i *integration) secret(namespace, registry string) (*v1.Secret, error) {
	_, password, err := i.config.Account.PullCredential(registry)
	if err != nil {
		return nil, fmt.Errorf("make a credential for registry %s: %w", registry, err)
	}
	secret := &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: registry, Namespace: namespace},
		Type:       v1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{v1.DockerConfigJsonKey: account.DockerConfig(account.Token{Value: password})},
	}
	if namespace == origin {
		secret.Annotations = map[string]string{annotationOrigin: registry}
	} else {
		secret.Labels = map[string]string{labelCopy: registry}
	}
	return secret, nil
}

// ensureReference lets the namespace's default service account use the Secret. A service account that is not there yet
// comes by itself, and is looked at then.
func (i *integration) ensureReference(ctx context.Context, namespace, registry string) error {
	return i.changeReferences(ctx, namespace, func(references []v1.LocalObjectReference) []v1.LocalObjectReference {
		if slices.Contains(references, v1.LocalObjectReference{Name: registry}) {
			return references
		}
		return append(references, v1.LocalObjectReference{Name: registry})
	})
}

// removeReference is the opposite.
func (i *integration) removeReference(ctx context.Context, namespace, registry string) error {
	return i.changeReferences(ctx, namespace, func(references []v1.LocalObjectReference) []v1.LocalObjectReference {
		return slices.DeleteFunc(references, func(reference v1.LocalObjectReference) bool { return reference.Name == registry })
	})
}

// changeReferences writes the service account's list if change alters it. The list is atomic to the API server, so the
// whole of it is written, on the condition that nobody has changed it meanwhile.
func (i *integration) changeReferences(ctx context.Context, namespace string, change func([]v1.LocalObjectReference) []v1.LocalObjectReference) error {
	existing, err := i.accounts.ServiceAccounts(namespace).Get(defaultAccount)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	changed := existing.DeepCopy()
	changed.ImagePullSecrets = change(changed.ImagePullSecrets)
	if slices.Equal(existing.ImagePullSecrets, changed.ImagePullSecrets) {
		return nil
	}
	_, err = i.client.CoreV1().ServiceAccounts(namespace).Update(ctx, changed, metav1.UpdateOptions{FieldManager: agent})
	if err != nil {
		return fmt.Errorf("service account %s/%s: %w", namespace, defaultAccount, err)
	}
	return nil
}

// removeOthers takes away what the integration put there for a registry that the cluster no longer pulls from.
func (i *integration) removeOthers(ctx context.Context, namespace string, registries []string) error {
	all, err := i.secrets.Secrets(namespace).List(labels.Everything())
	if err != nil {
		return err
	}
	for _, secret := range all {
		registry := identifier(secret)
		if registry == "" || slices.Contains(registries, registry) {
			continue
		}
		if err := i.removeReference(ctx, namespace, registry); err != nil {
			return err
		}
		err := i.client.CoreV1().Secrets(namespace).Delete(ctx, secret.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// identifier is the registry for which the integration made a Secret, or nothing if somebody else did.
func identifier(secret *v1.Secret) string {
	if registry := secret.Annotations[annotationOrigin]; registry != "" {
		return registry
	}
	return secret.Labels[labelCopy]
}

// everyNamespace lists the names of all.
func (i *integration) everyNamespace() []string {
	all, err := i.namespaces.List(labels.Everything())
	if err != nil {
		i.config.Log.Error("list namespaces", "error", err) // a cache that is in memory does not fail
	}
	var names []string
	for _, namespace := range all {
		names = append(names, namespace.Name)
	}
	return names
}
