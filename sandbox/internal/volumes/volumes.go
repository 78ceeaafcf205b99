// Package volumes gives PersistentVolumeClaims volumes, under the class names and the driver name of DigitalOcean's
// block storage.
//
// A volume is a folder in the sandbox's state, bound into pods by the kubelet as a local volume, and an entry in the
// account's list of volumes. What block storage cannot do is refused as its driver refuses it, with an event: access
// from several nodes. Folders have no size, so none is enforced.
package volumes

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
)

// Driver is the name of DigitalOcean's block storage driver: the provisioner that the storage classes name.
const Driver = "dobs.csi.digitalocean.com"

//go:embed classes.yaml
var classes []byte

// Account keeps the list of volumes.
type Account interface {
	Change(change func(*account.State) error) error
}

// Config says where volumes are wanted and where they lie.
type Config struct {
	Kubeconfig string // of an administrator
	Folder     string // holds a folder a volume; seen at the same path by the kubelet
	Node       string // the one node that can reach the folder
	ClusterID  string // becomes the tag k8s:ID of the account's volumes
	Region     string // slug
	Account    Account
	Log        *slog.Logger
}

// Run installs the storage classes and serves claims until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	client, err := kube.New(config.Kubeconfig, Driver)
	if err != nil {
		return err
	}
	if err := client.Apply(ctx, classes); err != nil {
		return fmt.Errorf("install the storage classes: %w", err)
	}
	ready("storage classes do-block-storage, -retain, -xfs, -xfs-retain")
	return provision(ctx, client, config)
}

// provision reconciles claims and volumes until ctx ends.
func provision(ctx context.Context, client kubernetes.Interface, config Config) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typed.EventSinkImpl{Interface: client.CoreV1().Events("")})

	factory := informers.NewSharedInformerFactory(client, 0)
	p := &provisioner{
		config:  config,
		client:  client,
		claims:  factory.Core().V1().PersistentVolumeClaims().Lister(),
		volumes: factory.Core().V1().PersistentVolumes().Lister(),
		classes: factory.Storage().V1().StorageClasses().Lister(),
		events:  broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: Driver}),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.DefaultTypedControllerRateLimiter[item]()),
	}
	for kind, informer := range map[string]cache.SharedIndexInformer{
		claimKind:  factory.Core().V1().PersistentVolumeClaims().Informer(),
		volumeKind: factory.Core().V1().PersistentVolumes().Informer(),
	} {
		if _, err := informer.AddEventHandler(p.enqueue(kind)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	context.AfterFunc(ctx, p.queue.ShutDown)
	var work sync.WaitGroup
	work.Go(func() { p.work(ctx) })
	work.Wait()
	factory.Shutdown()
	return nil
}

// The kinds of items.
const (
	claimKind  = "claim"
	volumeKind = "volume"
	goneKind   = "volume that is gone"
)

// item names an object that is to be looked at.
type item struct{ kind, namespace, name string }

// provisioner answers claims with volumes and takes released volumes back.
type provisioner struct {
	config  Config
	client  kubernetes.Interface
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
	events  record.EventRecorder
	queue   workqueue.TypedRateLimitingInterface[item]
}

// enqueue has an object looked at whenever it appears or changes.
func (p *provisioner) enqueue(kind string) cache.ResourceEventHandler {
	add := func(object any) {
		name, err := cache.ObjectToName(object)
		if err != nil {
			p.config.Log.Error("object without a name", "error", err)
			return
		}
		p.queue.Add(item{kind, name.Namespace, name.Name})
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, changed any) { add(changed) }, DeleteFunc: p.gone}
}

// gone removes the disk of a volume whose object somebody else has deleted, unless it is to be kept.
func (p *provisioner) gone(object any) {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	volume, ok := object.(*v1.PersistentVolume)
	if ok && volume.Annotations[annotationProvisionedBy] == Driver && volume.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete {
		p.queue.Add(item{kind: goneKind, name: volume.Name})
	}
}

// work looks at item after item until the queue is shut down. One that fails comes back later.
func (p *provisioner) work(ctx context.Context) {
	for {
		next, ended := p.queue.Get()
		if ended {
			return
		}
		if err := p.sync(ctx, next); err != nil {
			p.config.Log.Warn("will try again", "kind", next.kind, "name", next.name, "error", err)
			p.queue.AddRateLimited(next)
		} else {
			p.queue.Forget(next)
		}
		p.queue.Done(next)
	}
}

// sync looks at one object; looking twice changes nothing more.
func (p *provisioner) sync(ctx context.Context, next item) error {
	switch next.kind {
	case goneKind:
		return p.removeDisk(next.name)
	case volumeKind:
		return p.syncVolume(ctx, next.name)
	}
	return p.syncClaim(ctx, next.namespace, next.name)
}
