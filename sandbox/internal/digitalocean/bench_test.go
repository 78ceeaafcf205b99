package digitalocean_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/digitalocean/godo"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/seaway-deploy/seaway/sandbox/internal/digitalocean"
	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
	"github.com/seaway-deploy/seaway/sandbox/internal/sandboxtest"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// bench is a sandbox with the API, and its clients.
type bench struct {
	*sandboxtest.Bench
	t *testing.T
}

// client opens a connection for each request: the next test may have another server at the same address.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// newBench starts the API.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{sandboxtest.New(t), t}
	b.Start("digitalocean", func(ctx context.Context, ready func(string)) error {
		return digitalocean.Run(ctx, digitalocean.Config{Settings: b.Settings, Account: b.Account, Listen: b.Listen, Log: b.Log}, ready)
	})
	return b
}

// startRegistry starts the registries too.
func (b *bench) startRegistry() {
	b.t.Helper()
	b.Start("registry", func(ctx context.Context, ready func(string)) error {
		return registry.Run(ctx, registry.Config{Settings: b.Settings, Account: b.Account, Listen: b.Listen, Log: b.Log}, ready)
	})
}

// godo is the official client with a token.
func (b *bench) godo(token string) *godo.Client {
	b.t.Helper()
	official, err := godo.New(client, godo.SetBaseURL(b.Settings.URL(settings.PortDigitalOcean)),
		godo.SetRequestHeaders(map[string]string{"Authorization": "Bearer " + token}))
	if err != nil {
		b.t.Fatal(err)
	}
	return official
}

// token mints a token with scopes.
func (b *bench) token(scopes ...string) string {
	b.t.Helper()
	token, err := b.Account.MintAPIToken("test", scopes, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return token.Value
}

// call sends one request and reads the answer.
func (b *bench) call(method, path, token, body string) (*http.Response, []byte) {
	b.t.Helper()
	request, err := http.NewRequest(method, b.Settings.URL(settings.PortDigitalOcean)+path, bytes.NewReader([]byte(body)))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	return response, []byte(readAll(b.t, response))
}

// readAll reads an answer's body.
func readAll(t *testing.T, response *http.Response) string {
	t.Helper()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// push puts a random image of one layer into the registry and gives its digest.
func (b *bench) push(repositoryAndTag string) string {
	b.t.Helper()
	credential, err := b.Account.MintRegistryToken(settings.RegistryName, true, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	image, err := random.Image(256, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	address := b.Settings.HostPort(settings.PortRegistry) + "/" + settings.RegistryName + "/" + repositoryAndTag
	reference, err := name.ParseReference(address, name.Insecure)
	if err != nil {
		b.t.Fatal(err)
	}
	basic := &authn.Basic{Username: credential.Value, Password: credential.Value}
	if err := remote.Write(reference, image, remote.WithAuth(basic), remote.WithTransport(client.Transport)); err != nil {
		b.t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		b.t.Fatal(err)
	}
	return digest.String()
}

// decode reads an answer.
func decode[T any](t *testing.T, content []byte) T {
	t.Helper()
	var value T
	if err := json.Unmarshal(content, &value); err != nil {
		t.Fatalf("%v in %s", err, content)
	}
	return value
}
