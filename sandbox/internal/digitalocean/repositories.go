package digitalocean

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
)

// fullName is the name inside the registry program: `todo-app-registry/backend`.
func fullName(c *call) string { return c.path("registry") + "/" + c.path("repository") }

// wireManifest makes the answer for one manifest. Nothing is unpacked here, so its size is the compressed one.
func wireManifest(registryName, repository string, manifest registry.Manifest) manifestWire {
	wire := manifestWire{
		RepositoryManifest: godo.RepositoryManifest{
			RegistryName: registryName, Repository: repository, Digest: manifest.Digest, CompressedSizeBytes: uint64(manifest.Size),
			SizeBytes: uint64(manifest.Size), UpdatedAt: manifest.Updated,
		},
		Tags:  append([]string{}, manifest.Tags...),
		Blobs: []*godo.Blob{},
	}
	for _, blob := range manifest.Blobs {
		wire.Blobs = append(wire.Blobs, &godo.Blob{Digest: blob.Digest, CompressedSizeBytes: uint64(blob.Size)})
	}
	return wire
}

// manifestWire is godo.RepositoryManifest with its empty lists.
type manifestWire struct {
	godo.RepositoryManifest
	Tags  []string     `json:"tags"`
	Blobs []*godo.Blob `json:"blobs"`
}

// repositoryWire is godo.RepositoryV2 with its zeroes.
type repositoryWire struct {
	RegistryName   string       `json:"registry_name"`
	Name           string       `json:"name"`
	TagCount       int          `json:"tag_count"`
	ManifestCount  int          `json:"manifest_count"`
	LatestManifest manifestWire `json:"latest_manifest"`
}

// listRepositories lists the repositories of a registry.
func (s *server) listRepositories(c *call) (reply, error) {
	found, err := s.registry(c)
	if err != nil {
		return reply{}, err
	}
	wires, err := s.wireRepositories(c.request.Context(), found.Name)
	if err != nil {
		return reply{}, err
	}
	if token := c.query("page_token"); token != "" { // wins over page: the sandbox's tokens are page numbers
		query := c.request.URL.Query()
		query.Set("page", token)
		c.request.URL.RawQuery = query.Encode()
	}
	return list(c, "repositories", wires)
}

// wireRepositories makes the answers for all repositories of a registry.
func (s *server) wireRepositories(ctx context.Context, registryName string) ([]repositoryWire, error) {
	names, err := s.content.Repositories(ctx)
	if err != nil {
		return nil, err
	}
	var wires []repositoryWire
	for _, name := range names {
		repository, inside := strings.CutPrefix(name, registryName+"/")
		if !inside {
			continue
		}
		manifests, err := s.content.Manifests(ctx, name)
		if err != nil {
			return nil, err
		}
		wire := repositoryWire{RegistryName: registryName, Name: repository, ManifestCount: len(manifests)}
		for i, manifest := range manifests {
			wire.TagCount += len(manifest.Tags)
			if i == 0 {
				wire.LatestManifest = wireManifest(registryName, repository, manifest)
			}
		}
		wires = append(wires, wire)
	}
	return wires, nil
}

// manifests lists the manifests of the repository of a call's path.
func (s *server) manifests(c *call) ([]registry.Manifest, error) {
	if _, err := s.registry(c); err != nil {
		return nil, err
	}
	manifests, err := s.content.Manifests(c.request.Context(), fullName(c))
	if errors.Is(err, registry.ErrUnknown) || err == nil && len(manifests) == 0 {
		return nil, errNotFound
	}
	return manifests, err
}

// listTagsOfRepository lists tags by name.
func (s *server) listTagsOfRepository(c *call) (reply, error) {
	manifests, err := s.manifests(c)
	if err != nil {
		return reply{}, err
	}
	tags := []godo.RepositoryTag{}
	for _, manifest := range manifests {
		for _, tag := range manifest.Tags {
			tags = append(tags, godo.RepositoryTag{
				RegistryName: c.path("registry"), Repository: c.path("repository"), Tag: tag, ManifestDigest: manifest.Digest,
				CompressedSizeBytes: uint64(manifest.Size), SizeBytes: uint64(manifest.Size), UpdatedAt: manifest.Updated,
			})
		}
	}
	slices.SortFunc(tags, func(a, b godo.RepositoryTag) int { return strings.Compare(a.Tag, b.Tag) })
	return list(c, "tags", tags)
}

// listDigests lists manifests, the last pushed first.
func (s *server) listDigests(c *call) (reply, error) {
	manifests, err := s.manifests(c)
	if err != nil {
		return reply{}, err
	}
	wires := []manifestWire{}
	for _, manifest := range manifests {
		wires = append(wires, wireManifest(c.path("registry"), c.path("repository"), manifest))
	}
	return list(c, "manifests", wires)
}

// deleteTagOfRepository removes a tag.
func (s *server) deleteTagOfRepository(c *call) (reply, error) {
	return s.deleted(c, func(ctx context.Context) error { return s.content.DeleteTag(ctx, fullName(c), c.path("tag")) })
}

// deleteDigest removes a manifest.
func (s *server) deleteDigest(c *call) (reply, error) {
	return s.deleted(c, func(ctx context.Context) error { return s.content.DeleteManifest(ctx, fullName(c), c.path("digest")) })
}

// deleteRepository removes a repository.
func (s *server) deleteRepository(c *call) (reply, error) {
	return s.deleted(c, func(ctx context.Context) error { return s.content.DeleteRepository(ctx, fullName(c)) })
}

// deleted answers to a deletion in the registry of the path.
func (s *server) deleted(c *call, remove func(context.Context) error) (reply, error) {
	if _, err := s.registry(c); err != nil {
		return reply{}, err
	}
	err := remove(c.request.Context())
	if errors.Is(err, registry.ErrUnknown) {
		return reply{}, errNotFound
	}
	if err != nil {
		return reply{}, err
	}
	return gone()
}
