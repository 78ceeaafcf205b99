// Package hub fills the registry that stands for Docker Hub with images made from Debian packages, under the tags that
// are true of them and with the promises of the official images of these names: entrypoints, variables, paths, users.
//
// They are made once for a machine and kept in the cache folder; a later start only compares digests.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Config is what Run needs.
type Config struct {
	Settings settings.Settings
	Log      *slog.Logger
	Registry string              // host:port of the registry that stands for Docker Hub, spoken to over http
	Push     authn.Authenticator // who may push there
}

// Run has all images in the registry when it calls ready, and returns when ctx ends. The registry must serve by then.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	count, err := fill(ctx, config, recipes)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop in the middle: the next run goes on
		}
		return err
	}
	ready(fmt.Sprintf("%d images (%d pushed): %s", len(recipes), count, strings.Join(Images(), ", ")))
	<-ctx.Done()
	return nil
}

// Add has one of the extra images in the registry when it returns; it makes it where no earlier run did.
func Add(ctx context.Context, config Config, image string) error {
	for _, r := range extras {
		if r.String() == image {
			_, err := fill(ctx, config, []recipe{base, r})
			return err
		}
	}
	return fmt.Errorf("there is no recipe for %q; there are %s", image, strings.Join(Extras(), ", "))
}

// Extras are the names that Add knows.
func Extras() (all []string) {
	for _, r := range extras {
		all = append(all, r.String())
	}
	return all
}

// Images are the names that can be pulled, as in a Dockerfile.
func Images() (all []string) {
	for _, r := range recipes {
		all = append(all, r.String())
	}
	return all
}

// fill makes what is missing and pushes what the registry does not have; it returns how many it pushed.
func fill(ctx context.Context, config Config, wanted []recipe) (pushed int, err error) {
	authorities, err := ownAuthorities(machineBundle, packagedFolders)
	if err != nil {
		return 0, fmt.Errorf("read the machine's certificate authorities: %w", err)
	}
	kept, err := openStore(ctx, filepath.Join(config.Settings.Cache, "images"), config.Log)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, kept.close()) }()
	images, err := kept.stock(ctx, wanted, authorities, config.Log)
	if err != nil {
		return 0, err
	}
	for i, r := range wanted {
		sent, err := push(ctx, config, r, images[i])
		if err != nil {
			return pushed, fmt.Errorf("push %s: %w", r, err)
		}
		if sent {
			pushed++
		}
	}
	return pushed, nil
}

// push sends an image unless the registry's tag is already at its digest.
func push(ctx context.Context, config Config, r recipe, image v1.ImageIndex) (sent bool, err error) {
	reference, err := name.ParseReference(config.Registry+"/library/"+r.String(), name.Insecure)
	if err != nil {
		return false, err
	}
	digest, err := image.Digest()
	if err != nil {
		return false, err
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuth(config.Push)}
	present, err := remote.Head(reference, options...)
	var answer *transport.Error
	switch {
	case err == nil && present.Digest == digest:
		return false, nil
	case err != nil && !(errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound):
		return false, err
	}
	return true, remote.WriteIndex(reference, image, options...)
}
