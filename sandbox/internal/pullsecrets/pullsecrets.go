// Package pullsecrets is the registry integration of DOKS: it lets every namespace pull from the account's registries.
//
// For each registry there is a Secret of its name with a read-only credential, first in kube-system and a moment later
// in every other namespace, and the default service account of each refers to it. A namespace that has just been made
// is without for that moment, as it is at DigitalOcean. What is deleted comes back. When the integration is taken off
// the cluster (DELETE /v2/kubernetes/registry), it takes its Secrets and references with it.
package pullsecrets

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/digitalocean/godo"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
)

// agent is how the integration presents itself to the API server.
const agent = "digitalocean-registry-integration"

// look is how often the account is asked whether something changed for the integration.
const look = time.Second

// Config joins a cluster and an account.
type Config struct {
	Kubeconfig string // of an administrator
	ClusterID  string // DigitalOcean's id of the cluster
	Account    *account.Account
	Log        *slog.Logger
}

// Run keeps the Secrets until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	client, err := kube.New(config.Kubeconfig, agent)
	if err != nil {
		return err
	}
	return integrate(ctx, client, config, ready)
}

// integrate reconciles namespace after namespace until ctx ends.
func integrate(ctx context.Context, client kubernetes.Interface, config Config, ready func(detail string)) error {
	secrets := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTweakListOptions(onlyDockerConfigs))
	others := informers.NewSharedInformerFactory(client, 0)
	i := &integration{
		config:     config,
		client:     client,
		secrets:    secrets.Core().V1().Secrets().Lister(),
		accounts:   others.Core().V1().ServiceAccounts().Lister(),
		namespaces: others.Core().V1().Namespaces().Lister(),
		queue:      workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
	}
	for _, informer := range []cache.SharedIndexInformer{
		secrets.Core().V1().Secrets().Informer(),
		others.Core().V1().ServiceAccounts().Informer(),
		others.Core().V1().Namespaces().Informer(),
	} {
		if _, err := informer.AddEventHandler(i.handler()); err != nil {
			return err
		}
	}
	for _, factory := range []informers.SharedInformerFactory{secrets, others} {
		factory.Start(ctx.Done())
		factory.WaitForCacheSync(ctx.Done())
	}
	ready("pull secrets for every namespace")
	context.AfterFunc(ctx, i.queue.ShutDown)
	var work sync.WaitGroup
	work.Go(func() { i.work(ctx) })
	work.Go(func() { i.follow(ctx) })
	work.Wait()
	secrets.Shutdown()
	others.Shutdown()
	return nil
}

// onlyDockerConfigs keeps every other Secret out of this program's memory.
func onlyDockerConfigs(options *metav1.ListOptions) {
	options.FieldSelector = "type=" + string(v1.SecretTypeDockerConfigJson)
}

// integration is the registry integration of one cluster. Its queue holds the names of namespaces to look at.
type integration struct {
	config     Config
	client     kubernetes.Interface
	secrets    corelisters.SecretLister
	accounts   corelisters.ServiceAccountLister
	namespaces corelisters.NamespaceLister
	queue      workqueue.TypedRateLimitingInterface[string]
}

// handler puts the namespace of whatever changed on the queue.
func (i *integration) handler() cache.ResourceEventHandler {
	later := func(object any) {
		name, err := cache.DeletionHandlingObjectToName(object)
		if err != nil {
			i.config.Log.Error("object without a name", "error", err)
			return
		}
		if name.Namespace != "" {
			i.later(name.Namespace)
			return
		}
		i.later(name.Name)
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: later, DeleteFunc: later, UpdateFunc: func(_, changed any) { later(changed) },
	}
}

// later has a namespace looked at when the integration would have noticed it.
func (i *integration) later(namespace string) {
	i.queue.AddAfter(namespace, i.config.Account.Switches().PullSecretDelay.Duration())
}

// follow has every namespace looked at when the account's registries, the cluster's part in them, or the credential for
// them change: the account may be reset under a running cluster.
func (i *integration) follow(ctx context.Context) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	known := i.credentials()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := i.credentials(); !maps.Equal(now, known) {
			i.config.Log.Info("the cluster's registries or their credentials changed", "registries", slices.Sorted(maps.Keys(now)))
			known = now
			for _, namespace := range i.everyNamespace() {
				i.later(namespace)
			}
		}
	}
}

// credentials are the registries of the cluster with the password for each.
func (i *integration) credentials() map[string]string {
	passwords := map[string]string{}
	for _, registry := range i.registries() {
		_, password, err := i.config.Account.PullCredential(registry)
		if err != nil {
			i.config.Log.Error("make a credential", "registry", registry, "error", err) // tried again at the next look
		}
		passwords[registry] = password
	}
	return passwords
}

// registries are the names of those that this cluster pulls from; none when the integration is off.
func (i *integration) registries() []string {
	var names []string
	i.config.Account.View(func(state *account.State) {
		integrated := slices.ContainsFunc(state.Clusters, func(cluster godo.KubernetesCluster) bool {
			return cluster.ID == i.config.ClusterID && cluster.RegistryEnabled
		})
		if !integrated {
			return
		}
		for _, registry := range state.Registries {
			names = append(names, registry.Name)
		}
	})
	return names
}

// work looks at namespace after namespace until the queue is shut down.
func (i *integration) work(ctx context.Context) {
	for {
		namespace, ended := i.queue.Get()
		if ended {
			return
		}
		if err := i.sync(ctx, namespace); err != nil {
			i.config.Log.Warn("will try again", "namespace", namespace, "error", err)
			i.queue.AddRateLimited(namespace)
		} else {
			i.queue.Forget(namespace)
		}
		i.queue.Done(namespace)
	}
}
