package pullsecrets

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/godo"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

type bench struct {
	t        *testing.T
	kube     *fake.Clientset
	account  *account.Account
	secrets  watch.Interface
	accounts watch.Interface
}

func newBench(t *testing.T) *bench {
	owner, err := account.Open(settings.Settings{Number: 250, State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	err = owner.Switch(func(s *account.Switches) error { s.PullSecretDelay = 0.01; return nil })
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, kube: fake.NewClientset(), account: owner}
	if b.secrets, err = b.kube.CoreV1().Secrets("").Watch(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if b.accounts, err = b.kube.CoreV1().ServiceAccounts("").Watch(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- integrate(ctx, b.kube, Config{ClusterID: settings.ClusterID, Account: owner, Log: slog.New(slog.DiscardHandler)},
			func(string) { close(started) })
	}()
	<-started
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

// namespace makes one with its default service account, which refers to a Secret of somebody else already.
func (b *bench) namespace(name string) {
	b.t.Helper()
	if _, err := b.kube.CoreV1().Namespaces().Create(b.t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
	serviceAccount := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: name},
		ImagePullSecrets: []v1.LocalObjectReference{{Name: "own"}}}
	if _, err := b.kube.CoreV1().ServiceAccounts(name).Create(b.t.Context(), serviceAccount, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// await waits for the next event that fits.
func await[T any](t *testing.T, watcher watch.Interface, fits func(watch.EventType, T) bool) T {
	t.Helper()
	for {
		select {
		case event := <-watcher.ResultChan():
			if object, ok := event.Object.(T); ok && fits(event.Type, object) {
				return object
			}
		case <-time.After(patience):
			t.Fatal("what should happen did not")
		}
	}
}

func secretIn(namespace string, kind watch.EventType) func(watch.EventType, *v1.Secret) bool {
	return func(got watch.EventType, secret *v1.Secret) bool { return got == kind && secret.Namespace == namespace }
}

func accountRefers(want string) func(watch.EventType, *v1.ServiceAccount) bool {
	return func(_ watch.EventType, serviceAccount *v1.ServiceAccount) bool {
		var names []string
		for _, reference := range serviceAccount.ImagePullSecrets {
			names = append(names, reference.Name)
		}
		slices.Sort(names)
		return strings.Join(names, " ") == want
	}
}

func TestANewNamespaceGetsItsPullSecret(t *testing.T) {
	b := newBench(t)
	b.namespace("shop")
	copied := await(t, b.secrets, secretIn("shop", watch.Added))
	_, password, err := b.account.PullCredential(settings.RegistryName)
	if err != nil {
		t.Fatal(err)
	}
	want := string(account.DockerConfig(account.Token{Value: password}))
	if copied.Name != settings.RegistryName || copied.Type != v1.SecretTypeDockerConfigJson ||
		copied.Labels[labelCopy] != settings.RegistryName || string(copied.Data[v1.DockerConfigJsonKey]) != want {
		t.Errorf("the Secret is %+v", copied)
	}
	token, err := b.account.Authenticate(password)
	if err != nil || token.ReadWrite {
		t.Errorf("the credential must be valid and read-only: %+v, %v", token, err)
	}
	await(t, b.accounts, accountRefers("own "+settings.RegistryName))
}

func TestTheOriginIsAnnotated(t *testing.T) {
	b := newBench(t)
	b.namespace("kube-system")
	if made := await(t, b.secrets, secretIn("kube-system", watch.Added)); made.Annotations[annotationOrigin] != settings.RegistryName {
		t.Errorf("annotations are %v", made.Annotations)
	}
}

func TestADeletedSecretComesBackAndAnEditedOneIsRestored(t *testing.T) {
	b := newBench(t)
	b.namespace("shop")
	made := await(t, b.secrets, secretIn("shop", watch.Added))
	if err := b.kube.CoreV1().Secrets("shop").Delete(t.Context(), made.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, b.secrets, secretIn("shop", watch.Added))

	spoiled := made.DeepCopy()
	spoiled.Data = map[string][]byte{v1.DockerConfigJsonKey: []byte("{}")}
	if _, err := b.kube.CoreV1().Secrets("shop").Update(t.Context(), spoiled, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, b.secrets, func(_ watch.EventType, secret *v1.Secret) bool {
		return string(secret.Data[v1.DockerConfigJsonKey]) == string(made.Data[v1.DockerConfigJsonKey])
	})
}

func TestSwitchedOffItTakesEverythingAway(t *testing.T) {
	b := newBench(t)
	b.namespace("shop")
	await(t, b.accounts, accountRefers("own "+settings.RegistryName))
	err := b.account.UpdateCluster(settings.ClusterID, func(cluster *godo.KubernetesCluster) { cluster.RegistryEnabled = false })
	if err != nil {
		t.Fatal(err)
	}
	await(t, b.secrets, secretIn("shop", watch.Deleted))
	await(t, b.accounts, accountRefers("own"))
}

func TestARevokedCredentialIsReplaced(t *testing.T) {
	b := newBench(t)
	b.namespace("shop")
	made := await(t, b.secrets, secretIn("shop", watch.Added))
	_, password, err := b.account.PullCredential(settings.RegistryName)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.account.Revoke(password); err != nil {
		t.Fatal(err)
	}
	await(t, b.secrets, func(_ watch.EventType, secret *v1.Secret) bool {
		return string(secret.Data[v1.DockerConfigJsonKey]) != string(made.Data[v1.DockerConfigJsonKey])
	})
}
