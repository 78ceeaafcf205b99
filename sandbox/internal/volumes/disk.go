package volumes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/digitalocean/godo"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// syncVolume takes back a volume that was released and is to be deleted: the folder, the account's entry, the object.
func (p *provisioner) syncVolume(ctx context.Context, name string) error {
	volume, err := p.volumes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !reclaimable(volume) {
		return nil
	}
	if err := p.removeDisk(volume.Name); err != nil {
		p.events.Eventf(volume, v1.EventTypeWarning, "VolumeFailedDelete", "%v", err)
		return err
	}
	err = p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// reclaimable volumes were made here, are no longer claimed, and are not to be kept.
func reclaimable(volume *v1.PersistentVolume) bool {
	return volume.Annotations[annotationProvisionedBy] == Driver && volume.Status.Phase == v1.VolumeReleased &&
		volume.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete && volume.DeletionTimestamp == nil
}

// path is the folder of a volume.
func (p *provisioner) path(name string) string { return filepath.Join(p.config.Folder, name) }

// makeDisk makes the folder as a freshly formatted disk is, and enters it into the account.
//
// A new ext4 file system holds a folder lost+found. It is made here too, because programs that want an empty folder,
// PostgreSQL for one, stumble over it on DigitalOcean: they must be given a folder inside of the volume.
func (p *provisioner) makeDisk(volume *v1.PersistentVolume, fileSystem string) error {
	folder := p.path(volume.Name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if fileSystem == "ext4" {
		if err := os.MkdirAll(filepath.Join(folder, "lost+found"), 0o700); err != nil {
			return err
		}
	}
	quantity := volume.Spec.Capacity[v1.ResourceStorage]
	return p.config.Account.Change(func(state *account.State) error {
		if slices.ContainsFunc(state.Volumes, named(volume.Name)) {
			return nil
		}
		state.Volumes = append(state.Volumes, godo.Volume{
			ID: account.NewID(), Name: volume.Name, SizeGigaBytes: quantity.Value() / gibibyte, FilesystemType: fileSystem,
			Description: "Created by DigitalOcean CSI driver", Region: &godo.Region{Slug: p.config.Region},
			DropletIDs: []int{}, Tags: []string{"k8s:" + p.config.ClusterID}, CreatedAt: time.Now().UTC(),
		})
		return nil
	})
}

// resizeDisk changes the size in the account: a folder has none.
func (p *provisioner) resizeDisk(name string, to resource.Quantity) error {
	return p.config.Account.Change(func(state *account.State) error {
		at := slices.IndexFunc(state.Volumes, named(name))
		if at < 0 {
			return fmt.Errorf("the account has no volume %s", name)
		}
		state.Volumes[at].SizeGigaBytes = to.Value() / gibibyte
		return nil
	})
}

// removeDisk removes both; what is gone already is as good.
func (p *provisioner) removeDisk(name string) error {
	if err := os.RemoveAll(p.path(name)); err != nil {
		return err
	}
	return p.config.Account.Change(func(state *account.State) error {
		state.Volumes = slices.DeleteFunc(state.Volumes, named(name))
		return nil
	})
}

// named finds a volume in the account.
func named(name string) func(godo.Volume) bool {
	return func(volume godo.Volume) bool { return volume.Name == name }
}
