package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// annotationProvisioner is how Kubernetes hands a claim to a provisioner outside of it.
	annotationProvisioner = "volume.kubernetes.io/storage-provisioner"
	// annotationProvisionedBy keeps Kubernetes from deleting the volume itself.
	annotationProvisionedBy = "pv.kubernetes.io/provisioned-by"

	gibibyte = 1 << 30
)

// errUnsupported is wrapped by what no other try would change.
var errUnsupported = errors.New("not supported by DigitalOcean block storage")

// syncClaim gives a claim that waits for this driver its volume, and a bound one the size it asks for.
func (p *provisioner) syncClaim(ctx context.Context, namespace, name string) error {
	claim, err := p.claims.PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if claim.Spec.VolumeName != "" {
		return p.expand(ctx, claim)
	}
	if claim.Annotations[annotationProvisioner] != Driver || claim.DeletionTimestamp != nil {
		return nil
	}
	class, err := p.classes.Get(*claim.Spec.StorageClassName) // set, or Kubernetes had not named a provisioner
	if err != nil {
		return err
	}
	return p.provision(ctx, claim, class)
}

// provision makes the volume and says so in the claim's events, in the words of Kubernetes' own provisioner library.
func (p *provisioner) provision(ctx context.Context, claim *v1.PersistentVolumeClaim, class *storage.StorageClass) error {
	volume := p.volumeFor(claim, class)
	if _, err := p.volumes.Get(volume.Name); err == nil {
		return nil // made already: Kubernetes has yet to bind it
	}
	p.events.Eventf(claim, v1.EventTypeNormal, "Provisioning",
		"External provisioner is provisioning volume for claim %q", claim.Namespace+"/"+claim.Name)
	err := p.create(ctx, claim, class, volume)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		p.events.Eventf(claim, v1.EventTypeWarning, "ProvisioningFailed",
			"failed to provision volume with StorageClass %q: %v", class.Name, err)
		if errors.Is(err, errUnsupported) {
			return nil // the event has told; a changed claim comes by itself
		}
		return err
	}
	p.events.Eventf(claim, v1.EventTypeNormal, "ProvisioningSucceeded", "Successfully provisioned volume %s", volume.Name)
	return nil
}

// create makes the disk first: a volume that is there can be mounted at once.
func (p *provisioner) create(ctx context.Context, claim *v1.PersistentVolumeClaim, class *storage.StorageClass, volume *v1.PersistentVolume) error {
	if err := supported(claim); err != nil {
		return err
	}
	fileSystem := class.Parameters["fstype"]
	if fileSystem == "" {
		fileSystem = "ext4"
	}
	if err := p.makeDisk(volume, fileSystem); err != nil {
		return err
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	return err
}

// supported refuses what a block device, or a folder in its place, cannot do.
func supported(claim *v1.PersistentVolumeClaim) error {
	single := []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce, v1.ReadWriteOncePod}
	for _, mode := range claim.Spec.AccessModes {
		if !slices.Contains(single, mode) {
			return fmt.Errorf("access mode %s is %w: a volume is attached to one node, ask for ReadWriteOnce", mode, errUnsupported)
		}
	}
	if mode := claim.Spec.VolumeMode; mode != nil && *mode == v1.PersistentVolumeBlock {
		return fmt.Errorf("volume mode Block is %w of this sandbox: ask for Filesystem", errUnsupported)
	}
	if claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil {
		return fmt.Errorf("a data source (snapshot or clone) is %w of this sandbox: leave it out", errUnsupported)
	}
	return nil
}

// volumeFor describes the claim's volume. Its name follows from the claim, so that it is never made twice.
func (p *provisioner) volumeFor(claim *v1.PersistentVolumeClaim, class *storage.StorageClass) *v1.PersistentVolume {
	mode := v1.PersistentVolumeFilesystem
	name := "pvc-" + string(claim.UID)
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{annotationProvisionedBy: Driver}},
		Spec: v1.PersistentVolumeSpec{
			Capacity:                      v1.ResourceList{v1.ResourceStorage: size(claim)},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    &mode,
			StorageClassName:              class.Name,
			MountOptions:                  class.MountOptions,
			PersistentVolumeReclaimPolicy: *class.ReclaimPolicy, // Kubernetes fills it in if a class leaves it out
			PersistentVolumeSource:        v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: p.path(name)}},
			NodeAffinity:                  onNode(p.config.Node),
			ClaimRef: &v1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name,
				UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
		},
	}
}

// onNode is the affinity to one node, which a local volume must have.
func onNode(node string) *v1.VolumeNodeAffinity {
	return &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
		MatchExpressions: []v1.NodeSelectorRequirement{{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{node}}},
	}}}}
}

// size is what the claim asks for, in whole gibibytes, as block storage is sold.
func size(claim *v1.PersistentVolumeClaim) resource.Quantity {
	asked := claim.Spec.Resources.Requests[v1.ResourceStorage]
	units := max(1, (asked.Value()+gibibyte-1)/gibibyte)
	return *resource.NewQuantity(units*gibibyte, resource.BinarySI)
}

// expand gives a bound claim the size it asks for: the volume first, then the claim's status, as a resizer would.
func (p *provisioner) expand(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	volume, err := p.volumes.Get(claim.Spec.VolumeName)
	if err != nil {
		return fmt.Errorf("the claim's volume: %w", err) // the list of volumes may lag behind: it is tried again
	}
	if volume.Annotations[annotationProvisionedBy] != Driver || claim.Status.Phase != v1.ClaimBound {
		return nil // not ours, or not bound yet: then another change follows
	}
	wanted, has := size(claim), claim.Status.Capacity[v1.ResourceStorage]
	if wanted.Cmp(has) <= 0 {
		return nil
	}
	larger := volume.DeepCopy()
	larger.Spec.Capacity = v1.ResourceList{v1.ResourceStorage: wanted}
	if _, err := p.client.CoreV1().PersistentVolumes().Update(ctx, larger, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := p.resizeDisk(volume.Name, wanted); err != nil {
		return err
	}
	done := claim.DeepCopy()
	done.Status.Capacity, done.Status.Conditions = v1.ResourceList{v1.ResourceStorage: wanted}, nil
	if _, err := p.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, done, metav1.UpdateOptions{}); err != nil {
		return err
	}
	p.events.Event(claim, v1.EventTypeNormal, "FileSystemResizeSuccessful", "the volume has the size that was asked for")
	return nil
}
