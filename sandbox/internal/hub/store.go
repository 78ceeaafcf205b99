package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// keyAnnotation holds a recipe's key in the store's index.
const keyAnnotation = "dev.seaway.sandbox.recipe"

// store keeps made images in one OCI layout, so that the base's layer is there once.
type store struct {
	path layout.Path
	lock *os.File
}

// openStore opens the layout and waits until no other sandbox works in it, or ctx ends.
func openStore(ctx context.Context, folder string, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockFile(ctx, lock, log); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), lock.Close())
	}
	path, err := layout.FromPath(folder)
	if err != nil {
		path, err = layout.Write(folder, empty.Index)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &store{path, lock}, nil
}

// lockFile takes the lock. It asks again and again: the blocking call could not be told to stop.
func lockFile(ctx context.Context, file *os.File, log *slog.Logger) error {
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for told := false; ; told = true {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if !told {
			log.Info("another sandbox is making the Docker Hub images; waiting for it")
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close lets others in.
func (s *store) close() error { return s.lock.Close() }

// find is the image with this key, or nil.
func (s *store) find(key string) (v1.ImageIndex, error) {
	index, err := s.path.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, descriptor := range manifest.Manifests {
		if descriptor.Annotations[keyAnnotation] == key {
			return index.ImageIndex(descriptor.Digest)
		}
	}
	return nil, nil
}

// keep writes an image and forgets an older one of the same name.
func (s *store) keep(r recipe, key string, image v1.ImageIndex) error {
	return s.path.ReplaceIndex(image, match.Name(r.String()), layout.WithAnnotations(map[string]string{
		keyAnnotation:                       key,
		"org.opencontainers.image.ref.name": r.String(),
	}))
}

// platform is the only one that images are made for: what DOKS nodes run.
var platform = v1.Platform{Architecture: "amd64", OS: "linux"}

// assemble makes an image, in an index of its own as Docker Hub has them.
func assemble(r recipe, layers []v1.Layer) (v1.ImageIndex, error) {
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	image, err := mutate.AppendLayers(image, layers...)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS = platform.Architecture, platform.OS
	config.Created = v1.Time{Time: epoch}
	config.Config = r.Config
	for i := range config.History {
		config.History[i] = v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "packages of Debian bookworm"}
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	return mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}}), nil
}

// layersOf are the layers of the only image in an index.
func layersOf(index v1.ImageIndex) ([]v1.Layer, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	return image.Layers()
}

// layerFile is a file made by writeLayer, as a layer.
func layerFile(path string) (v1.Layer, error) {
	return tarball.LayerFromFile(path, tarball.WithMediaType(types.OCILayer))
}

// stock brings images into the store, making those that are not there, and returns them in the recipes' order. The first
// recipe is the base.
func (s *store) stock(ctx context.Context, wanted []recipe, authorities []string, log *slog.Logger) ([]v1.ImageIndex, error) {
	images, missing, err := s.take(wanted, authorities)
	if err != nil || missing == 0 {
		return images, err
	}
	log.Info("making the Docker Hub images; this happens once and takes a few minutes", "missing", missing)
	shop, err := openWorkshop(filepath.Join(string(s.path), "workshop"), authorities, log)
	if err != nil {
		return nil, err
	}
	err = s.make(ctx, shop, wanted, images)
	return images, errors.Join(err, shop.close(), s.sweep())
}

// sweep removes what no image refers to any more.
func (s *store) sweep() error {
	unused, err := s.path.GarbageCollect()
	for _, blob := range unused {
		err = errors.Join(err, s.path.RemoveBlob(blob))
	}
	return err
}

// take is what the store has, nil for what it lacks.
func (s *store) take(wanted []recipe, authorities []string) (images []v1.ImageIndex, missing int, err error) {
	for _, r := range wanted {
		key, err := r.key(authorities)
		if err != nil {
			return nil, 0, err
		}
		image, err := s.find(key)
		if err != nil {
			return nil, 0, err
		}
		if image == nil {
			missing++
		}
		images = append(images, image)
	}
	return images, missing, nil
}

// make fills the gaps in images.
func (s *store) make(ctx context.Context, shop *workshop, wanted []recipe, images []v1.ImageIndex) error {
	baseLayer, err := s.prepareBase(ctx, shop, images)
	if err != nil {
		return err
	}
	for i, r := range wanted {
		if images[i] != nil {
			continue
		}
		path, err := shop.makeLayer(ctx, r)
		if err != nil {
			return err
		}
		layer, err := layerFile(path)
		if err != nil {
			return err
		}
		layers := []v1.Layer{baseLayer, layer}
		if r.Only != "" {
			layers = layers[1:]
		}
		if images[i], err = s.finish(shop, r, layers); err != nil {
			return err
		}
	}
	return nil
}

// prepareBase has the base's files in the workshop and its image in images[0] when it returns its layer.
func (s *store) prepareBase(ctx context.Context, shop *workshop, images []v1.ImageIndex) (v1.Layer, error) {
	if images[0] == nil {
		path, err := shop.makeBase(ctx)
		if err != nil {
			return nil, err
		}
		layer, err := layerFile(path)
		if err != nil {
			return nil, err
		}
		images[0], err = s.finish(shop, base, []v1.Layer{layer})
		return layer, err
	}
	layers, err := layersOf(images[0])
	if err != nil {
		return nil, err
	}
	return layers[0], shop.takeBase(ctx, layers[0])
}

// finish puts a made image into the store and returns it from there: the workshop's files will be gone.
func (s *store) finish(shop *workshop, r recipe, layers []v1.Layer) (v1.ImageIndex, error) {
	image, err := assemble(r, layers)
	if err != nil {
		return nil, err
	}
	key, err := r.key(shop.authorities)
	if err != nil {
		return nil, err
	}
	if err := s.keep(r, key, image); err != nil {
		return nil, fmt.Errorf("keep %s: %w", r, err)
	}
	return s.find(key)
}
