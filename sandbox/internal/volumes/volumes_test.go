package volumes

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// bench is a provisioner that runs against a fake cluster and a fresh account.
type bench struct {
	t       *testing.T
	kube    *fake.Clientset
	account *account.Account
	folder  string
}

func newBench(t *testing.T) *bench {
	owner, err := account.Open(settings.Settings{Number: 250, State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(seededClasses(t)...)
	b := &bench{t, client, owner, filepath.Join(t.TempDir(), "volumes")}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- provision(ctx, client, Config{Folder: b.folder, Node: "node-a", ClusterID: "C", Region: "nyc1",
			Account: owner, Log: slog.New(slog.DiscardHandler)})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

// seededClasses are the classes of the embedded file, as the API server would hold them.
func seededClasses(t *testing.T) []runtime.Object {
	parsed, err := kube.Parse(classes)
	if err != nil {
		t.Fatal(err)
	}
	var objects []runtime.Object
	for _, object := range parsed {
		class := &storage.StorageClass{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, class); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, class)
	}
	return objects
}

func claim(class, size string, modes ...v1.PersistentVolumeAccessMode) *v1.PersistentVolumeClaim {
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data", Namespace: "shop", UID: "u1", Annotations: map[string]string{annotationProvisioner: Driver}},
		Spec: v1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: modes,
			Resources: v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse(size)}},
		},
	}
}

func (b *bench) create(claim *v1.PersistentVolumeClaim) {
	if _, err := b.kube.CoreV1().PersistentVolumeClaims("shop").Create(b.t.Context(), claim, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// awaitVolume waits for an event on volumes that fits.
func (b *bench) awaitVolume(watcher watch.Interface, fits func(watch.Event) bool) *v1.PersistentVolume {
	b.t.Helper()
	for {
		select {
		case event := <-watcher.ResultChan():
			if fits(event) {
				return event.Object.(*v1.PersistentVolume)
			}
		case <-time.After(patience):
			b.t.Fatal("the volume did not change as it should")
		}
	}
}

func (b *bench) watchVolumes() watch.Interface {
	watcher, err := b.kube.CoreV1().PersistentVolumes().Watch(b.t.Context(), metav1.ListOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return watcher
}

func ofType(kind watch.EventType) func(watch.Event) bool {
	return func(event watch.Event) bool { return event.Type == kind }
}

func (b *bench) accountVolumes() (names []string, sizes []int64) {
	b.account.View(func(state *account.State) {
		for _, volume := range state.Volumes {
			names, sizes = append(names, volume.Name), append(sizes, volume.SizeGigaBytes)
		}
	})
	return names, sizes
}

func TestAVolumeFromClaimToDeletion(t *testing.T) {
	b := newBench(t)
	changes := b.watchVolumes()
	b.create(claim("do-block-storage", "1500Mi", v1.ReadWriteOnce))
	volume := b.awaitVolume(changes, ofType(watch.Added))

	size := volume.Spec.Capacity[v1.ResourceStorage]
	if volume.Name != "pvc-u1" || size.String() != "2Gi" || volume.Spec.ClaimRef.UID != "u1" ||
		volume.Spec.PersistentVolumeReclaimPolicy != v1.PersistentVolumeReclaimDelete || volume.Spec.Local.Path != filepath.Join(b.folder, "pvc-u1") {
		t.Errorf("volume is %+v", volume.Spec)
	}
	if _, err := os.Stat(filepath.Join(volume.Spec.Local.Path, "lost+found")); err != nil {
		t.Errorf("a new ext4 volume has a folder lost+found: %v", err)
	}
	if names, sizes := b.accountVolumes(); len(names) != 1 || names[0] != "pvc-u1" || sizes[0] != 2 {
		t.Errorf("the account holds %v of %v GiB", names, sizes)
	}

	released := volume.DeepCopy()
	released.Status.Phase = v1.VolumeReleased
	if _, err := b.kube.CoreV1().PersistentVolumes().UpdateStatus(t.Context(), released, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitVolume(changes, ofType(watch.Deleted))
	if _, err := os.Stat(volume.Spec.Local.Path); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if names, _ := b.accountVolumes(); len(names) != 0 {
		t.Errorf("the account still holds %v", names)
	}
}

func TestADeletedObjectTakesItsDiskAlong(t *testing.T) {
	b := newBench(t)
	changes := b.watchVolumes()
	b.create(claim("do-block-storage", "1Gi", v1.ReadWriteOnce))
	volume := b.awaitVolume(changes, ofType(watch.Added))
	if err := b.kube.CoreV1().PersistentVolumes().Delete(t.Context(), volume.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // nobody tells of a folder's end
		names, _ := b.accountVolumes()
		if _, err := os.Stat(volume.Spec.Local.Path); os.IsNotExist(err) && len(names) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the disk is still there, the account holds %v", names)
		}
	}
}

func TestRetainedVolumesStay(t *testing.T) {
	for name, test := range map[string]struct {
		policy v1.PersistentVolumeReclaimPolicy
		phase  v1.PersistentVolumePhase
		by     string
		want   bool
	}{
		"released":  {v1.PersistentVolumeReclaimDelete, v1.VolumeReleased, Driver, true},
		"retained":  {v1.PersistentVolumeReclaimRetain, v1.VolumeReleased, Driver, false},
		"bound":     {v1.PersistentVolumeReclaimDelete, v1.VolumeBound, Driver, false},
		"another's": {v1.PersistentVolumeReclaimDelete, v1.VolumeReleased, "other", false},
	} {
		volume := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{annotationProvisionedBy: test.by}}}
		volume.Spec.PersistentVolumeReclaimPolicy, volume.Status.Phase = test.policy, test.phase
		if got := reclaimable(volume); got != test.want {
			t.Errorf("%s: reclaimable is %v", name, got)
		}
	}
}

func TestUnsupportedClaimsAreRefusedWithAnEvent(t *testing.T) {
	b := newBench(t)
	events, err := b.kube.CoreV1().Events("").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.create(claim("do-block-storage", "1Gi", v1.ReadWriteMany))
	for {
		select {
		case event := <-events.ResultChan():
			message := event.Object.(*v1.Event)
			if message.Reason != "ProvisioningFailed" {
				continue
			}
			if !strings.Contains(message.Message, "access mode ReadWriteMany is not supported") {
				t.Errorf("event says %q", message.Message)
			}
			return
		case <-time.After(patience):
			t.Fatal("no event")
		}
	}
}

func TestABoundClaimGrows(t *testing.T) {
	b := newBench(t)
	changes := b.watchVolumes()
	b.create(claim("do-block-storage-xfs", "1Gi", v1.ReadWriteOnce))
	volume := b.awaitVolume(changes, ofType(watch.Added))
	if _, err := os.Stat(filepath.Join(volume.Spec.Local.Path, "lost+found")); !os.IsNotExist(err) {
		t.Errorf("xfs has no lost+found: %v", err)
	}
	bound := claim("do-block-storage-xfs", "3Gi", v1.ReadWriteOnce)
	bound.Spec.VolumeName, bound.Status.Phase = volume.Name, v1.ClaimBound
	bound.Status.Capacity = v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}
	if _, err := b.kube.CoreV1().PersistentVolumeClaims("shop").Update(t.Context(), bound, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	larger := b.awaitVolume(changes, ofType(watch.Modified))
	if size := larger.Spec.Capacity[v1.ResourceStorage]; size.String() != "3Gi" {
		t.Errorf("the volume has %s", size.String())
	}
}

func TestTheDefaultClassIsDigitalOceans(t *testing.T) {
	for _, object := range seededClasses(t) {
		class := object.(*storage.StorageClass)
		isDefault := class.Annotations["storageclass.kubernetes.io/is-default-class"] == "true"
		if class.Provisioner != Driver || isDefault != (class.Name == "do-block-storage") {
			t.Errorf("class %s: provisioner %s, default %v", class.Name, class.Provisioner, isDefault)
		}
	}
}
