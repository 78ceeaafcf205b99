package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Content reads and deletes what is in registry.digitalocean.com, straight from its storage, as DigitalOcean's own API
// does.
type Content struct {
	namespace distribution.Namespace
	driver    driver.StorageDriver
}

// Manifest is an image, or an index of images, in a repository.
type Manifest struct {
	Digest  string
	Tags    []string // sorted
	Blobs   []Blob   // configuration and layers, or the manifests of an index
	Size    int64    // bytes of the manifest and its blobs, compressed
	Updated time.Time
}

// Blob is a part of a manifest.
type Blob struct {
	Digest string
	Size   int64
}

// ErrUnknown is the answer for a repository, a tag or a digest that is not there.
var ErrUnknown = errors.New("not in the registry")

// OpenContent opens the storage of registry.digitalocean.com, which may be serving at the same time.
func OpenContent(s settings.Settings) (*Content, error) {
	files, err := filesystem.FromParameters(map[string]any{"rootdirectory": StorageFolder(s)})
	if err != nil {
		return nil, err
	}
	namespace, err := storage.NewRegistry(context.Background(), files, storage.EnableDelete)
	if err != nil {
		return nil, err
	}
	return &Content{namespace: namespace, driver: files}, nil
}

// Repositories lists the names of all repositories that hold a manifest, sorted, with the registry's name in front.
func (c *Content) Repositories(ctx context.Context) ([]string, error) {
	var all []string
	page, last := make([]string, 100), ""
	for {
		n, err := c.namespace.Repositories(ctx, page, last)
		var missing driver.PathNotFoundError
		if errors.As(err, &missing) { // nothing was ever pushed
			return nil, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for _, name := range page[:n] {
			if manifests, err := c.Manifests(ctx, name); err == nil && len(manifests) > 0 {
				all = append(all, name)
			}
		}
		if errors.Is(err, io.EOF) || n == 0 {
			slices.Sort(all)
			return all, nil
		}
		last = page[n-1]
	}
}

// repository opens one repository.
func (c *Content) repository(ctx context.Context, name string) (distribution.Repository, error) {
	named, err := reference.WithName(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return c.namespace.Repository(ctx, named)
}

// Manifests lists all manifests of a repository, the last pushed first.
func (c *Content) Manifests(ctx context.Context, name string) ([]Manifest, error) {
	repository, err := c.repository(ctx, name)
	if err != nil {
		return nil, err
	}
	service, err := repository.Manifests(ctx)
	if err != nil {
		return nil, err
	}
	tags, err := c.tagsByDigest(ctx, repository)
	if err != nil {
		return nil, err
	}
	enumerator, ok := service.(distribution.ManifestEnumerator)
	if !ok {
		return nil, errors.New("the storage cannot list manifests")
	}
	var all []Manifest
	err = enumerator.Enumerate(ctx, func(found digest.Digest) error {
		manifest, err := c.describe(ctx, name, service, found)
		manifest.Tags = tags[found]
		all = append(all, manifest)
		return err
	})
	var missing driver.PathNotFoundError
	if errors.As(err, &missing) {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	slices.SortStableFunc(all, func(a, b Manifest) int { return b.Updated.Compare(a.Updated) })
	return all, err
}

// describe reads one manifest.
func (c *Content) describe(ctx context.Context, name string, service distribution.ManifestService, found digest.Digest) (Manifest, error) {
	manifest, err := service.Get(ctx, found)
	if err != nil {
		return Manifest{}, err
	}
	_, payload, err := manifest.Payload()
	if err != nil {
		return Manifest{}, err
	}
	described := Manifest{Digest: found.String(), Size: int64(len(payload)), Blobs: []Blob{}}
	for _, blob := range manifest.References() {
		described.Blobs = append(described.Blobs, Blob{Digest: blob.Digest.String(), Size: blob.Size})
		described.Size += blob.Size
	}
	link := fmt.Sprintf("/docker/registry/v2/repositories/%s/_manifests/revisions/%s/%s/link", name, found.Algorithm(), found.Encoded())
	info, err := c.driver.Stat(ctx, link)
	if err != nil {
		return Manifest{}, err
	}
	described.Updated = info.ModTime().UTC()
	return described, nil
}

// tagsByDigest lists the tags of each manifest, sorted.
func (c *Content) tagsByDigest(ctx context.Context, repository distribution.Repository) (map[digest.Digest][]string, error) {
	service := repository.Tags(ctx)
	names, err := service.All(ctx)
	var unknown distribution.ErrRepositoryUnknown
	if errors.As(err, &unknown) { // pushed by digest only
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	tags := map[digest.Digest][]string{}
	for _, name := range names {
		descriptor, err := service.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		tags[descriptor.Digest] = append(tags[descriptor.Digest], name)
	}
	return tags, nil
}

// DeleteTag removes a tag; the manifest stays.
func (c *Content) DeleteTag(ctx context.Context, name, tag string) error {
	repository, err := c.repository(ctx, name)
	if err != nil {
		return err
	}
	if _, err := repository.Tags(ctx).Get(ctx, tag); err != nil {
		return fmt.Errorf("%w: %s:%s", ErrUnknown, name, tag)
	}
	return repository.Tags(ctx).Untag(ctx, tag)
}

// DeleteManifest removes a manifest and its tags; its blobs stay until garbage is collected.
func (c *Content) DeleteManifest(ctx context.Context, name, manifest string) error {
	manifests, err := c.Manifests(ctx, name)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(manifests, func(m Manifest) bool { return m.Digest == manifest })
	if at < 0 {
		return fmt.Errorf("%w: %s@%s", ErrUnknown, name, manifest)
	}
	repository, err := c.repository(ctx, name)
	if err != nil {
		return err
	}
	for _, tag := range manifests[at].Tags {
		if err := repository.Tags(ctx).Untag(ctx, tag); err != nil {
			return err
		}
	}
	service, err := repository.Manifests(ctx)
	if err != nil {
		return err
	}
	return service.Delete(ctx, digest.Digest(manifest))
}

// DeleteRepository removes all manifests of a repository.
func (c *Content) DeleteRepository(ctx context.Context, name string) error {
	named, err := reference.WithName(name)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	if manifests, err := c.Manifests(ctx, name); err != nil || len(manifests) == 0 {
		return fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	remover, ok := c.namespace.(distribution.RepositoryRemover)
	if !ok {
		return errors.New("the storage cannot remove repositories")
	}
	return remover.Remove(ctx, named)
}

// Usage is how many bytes the manifests of one registry and their blobs take, each counted once.
func (c *Content) Usage(ctx context.Context, registry string) (int64, error) {
	names, err := c.Repositories(ctx)
	if err != nil {
		return 0, err
	}
	used, counted := int64(0), map[string]bool{}
	for _, name := range names {
		if !strings.HasPrefix(name, registry+"/") {
			continue
		}
		manifests, err := c.Manifests(ctx, name)
		if err != nil {
			return 0, err
		}
		for _, manifest := range manifests {
			for _, blob := range manifest.Blobs {
				if !counted[blob.Digest] {
					used += blob.Size
				}
				counted[blob.Digest] = true
			}
		}
	}
	return used, nil
}

// Collect collects the garbage of one registry, for real: manifests that no tag leads to, and blobs that no manifest
// names. It gives how many blobs went and how many bytes that freed.
func (c *Content) Collect(ctx context.Context, registry string, manifests, blobs bool) (count int, bytes int64, err error) {
	names, err := c.Repositories(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		if manifests && strings.HasPrefix(name, registry+"/") {
			if err := c.deleteUntagged(ctx, name); err != nil {
				return 0, 0, err
			}
		}
	}
	if !blobs {
		return 0, 0, nil
	}
	countBefore, bytesBefore, err := c.blobs(ctx)
	var missing driver.PathNotFoundError
	if errors.As(err, &missing) { // nothing was ever pushed
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	if err := storage.MarkAndSweep(ctx, c.driver, c.namespace, storage.GCOpts{Quiet: true}); err != nil {
		return 0, 0, err
	}
	countAfter, bytesAfter, err := c.blobs(ctx)
	return countBefore - countAfter, bytesBefore - bytesAfter, err
}

// deleteUntagged removes the manifests of a repository that have no tag and are not a part of one that has.
func (c *Content) deleteUntagged(ctx context.Context, name string) error {
	manifests, err := c.Manifests(ctx, name)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, manifest := range manifests {
		for _, blob := range manifest.Blobs {
			needed[blob.Digest] = needed[blob.Digest] || len(manifest.Tags) > 0
		}
	}
	for _, manifest := range manifests {
		if len(manifest.Tags) == 0 && !needed[manifest.Digest] {
			if err := c.DeleteManifest(ctx, name, manifest.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// blobs counts all blobs, manifests among them, and their bytes.
func (c *Content) blobs(ctx context.Context) (count int, bytes int64, err error) {
	err = c.namespace.Blobs().Enumerate(ctx, func(found digest.Digest) error {
		described, err := c.namespace.BlobStatter().Stat(ctx, found)
		count, bytes = count+1, bytes+described.Size
		return err
	})
	return count, bytes, err
}
