// Command registry is a registry on loopback whose repositories answer with the list of what refers to a manifest, which
// none of the sandbox's registries does: OCI's distribution specification 1.1, as CUE's registry implements it, in memory.
//
// It prints its address, serves whoever asks, and ends when its standard input does: with the test that has started it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// registry is CUE's registry, and what others do that it does not.
type registry struct {
	*ocimem.Registry
	// refuses manifests that are about another one.
	refuses bool
}

// PushManifest takes a manifest, or refuses it as registries do that know no subjects and check what they take.
func (r registry) PushManifest(ctx context.Context, repo, tag string, content []byte, mediaType string) (ociregistry.Descriptor, error) {
	var manifest struct {
		Subject json.RawMessage `json:"subject"`
	}
	if err := json.Unmarshal(content, &manifest); err == nil && manifest.Subject != nil && r.refuses {
		return ociregistry.Descriptor{}, ociregistry.NewError("unknown field: subject", ociregistry.ErrManifestInvalid.Code(), nil)
	}
	return r.Registry.PushManifest(ctx, repo, tag, content, mediaType)
}

// DeleteManifest deletes a manifest with its tags.
func (r registry) DeleteManifest(ctx context.Context, repo string, digest ociregistry.Digest) error {
	var tags []string
	for tag, err := range r.Tags(ctx, repo, "") {
		if err != nil {
			return err
		}
		if manifest, err := r.ResolveTag(ctx, repo, tag); err == nil && manifest.Digest == digest {
			tags = append(tags, tag)
		}
	}
	for _, tag := range tags {
		if err := r.DeleteTag(ctx, repo, tag); err != nil {
			return err
		}
	}
	return r.Registry.DeleteManifest(ctx, repo, digest)
}

func main() {
	refuses := flag.Bool("refuse-subjects", false, "refuse manifests with a subject, and know no list of what refers to a manifest")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	handler := ociserver.New(registry{ocimem.New(), *refuses}, &ociserver.Options{DisableReferrersAPI: *refuses})
	logged := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(os.Stderr, r.Method, r.URL.RequestURI())
		handler.ServeHTTP(w, r)
	})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println(listener.Addr())
	log.Fatal(http.Serve(listener, logged))
}
