package registry_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/seaway-deploy/seaway/sandbox/internal/digitalocean"
	"github.com/seaway-deploy/seaway/sandbox/internal/faults"
	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
	"github.com/seaway-deploy/seaway/sandbox/internal/sandboxtest"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// bench is a sandbox with registries, the token service and fault proxies.
type bench struct {
	*sandboxtest.Bench
	t     *testing.T
	rules *faults.Rules
}

// client opens a connection for each request: the next test may have another server at the same address.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// newBench starts them.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{sandboxtest.New(t), t, faults.NewRules()}
	b.Start("digitalocean", func(ctx context.Context, ready func(string)) error {
		return digitalocean.Run(ctx, digitalocean.Config{Settings: b.Settings, Account: b.Account, Listen: b.Listen, Log: b.Log}, ready)
	})
	b.Start("registry", func(ctx context.Context, ready func(string)) error {
		return registry.Run(ctx, registry.Config{Settings: b.Settings, Account: b.Account, Listen: b.Listen, Log: b.Log}, ready)
	})
	b.Start("faults", func(ctx context.Context, ready func(string)) error {
		return faults.Run(ctx, faults.Config{Settings: b.Settings, Rules: b.rules, Listen: b.Listen, Log: b.Log}, ready)
	})
	return b
}

// reference names an image at a port.
func (b *bench) reference(port int, image string) name.Reference {
	b.t.Helper()
	reference, err := name.ParseReference(b.Settings.HostPort(port)+"/"+image, name.Insecure)
	if err != nil {
		b.t.Fatal(err)
	}
	return reference
}

// options are how images are moved: with a credential, one request a connection, and no retries.
func (b *bench) options(credential string) []remote.Option {
	options := []remote.Option{
		remote.WithTransport(client.Transport), remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
		remote.WithRetryPredicate(func(error) bool { return false }), remote.WithRetryStatusCodes(),
	}
	if credential == "" {
		return options
	}
	return append(options, remote.WithAuth(&authn.Basic{Username: credential, Password: credential}))
}

// credential mints a docker credential.
func (b *bench) credential(readWrite bool) string {
	b.t.Helper()
	token, err := b.Account.MintRegistryToken(settings.RegistryName, readWrite, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return token.Value
}

// image makes a random one.
func (b *bench) image() (v1.Image, string) {
	b.t.Helper()
	image, err := random.Image(1<<16, 2)
	if err != nil {
		b.t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		b.t.Fatal(err)
	}
	return image, digest.String()
}

// TestPushAndPull: both registries, through the one token service, and the new one through its proxy too.
func TestPushAndPull(t *testing.T) {
	b := newBench(t)
	reader, writer := b.credential(false), b.credential(true)
	for name, port := range map[string]int{
		"distribution": settings.PortRegistry, "2.8": settings.PortRegistryOld, "through the proxy": settings.PortFaultRegistry,
	} {
		if _, err := exec.LookPath("docker-registry"); err != nil && port == settings.PortRegistryOld {
			t.Log("docker-registry is not installed: the old registry is not tried")
			continue
		}
		image, digest := b.image()
		reference := b.reference(port, settings.RegistryName+"/web:"+strings.ReplaceAll(name, " ", "-"))
		if err := remote.Write(reference, image, b.options(reader)...); err == nil {
			t.Errorf("%s: a reader pushes", name)
		}
		if err := remote.Write(reference, image, b.options(writer)...); err != nil {
			t.Errorf("%s: push: %v", name, err)
			continue
		}
		if _, err := remote.Get(reference, b.options("")...); err == nil {
			t.Errorf("%s: anybody pulls", name)
		}
		pulled, err := remote.Image(reference, b.options(reader)...)
		if err != nil {
			t.Errorf("%s: pull: %v", name, err)
			continue
		}
		if got, err := pulled.Digest(); err != nil || got.String() != digest {
			t.Errorf("%s: pulled %s, pushed %s: %v", name, got, digest, err)
		}
		if err := remote.Delete(reference.Context().Digest(digest), b.options(writer)...); err != nil {
			t.Errorf("%s: delete: %v", name, err)
		}
	}
}

// TestProxyKeepsTheClient: a client that came through the proxy is led through it again by the upload's Location.
func TestProxyKeepsTheClient(t *testing.T) {
	b := newBench(t)
	image, _ := b.image()
	if err := remote.Write(b.reference(settings.PortFaultRegistry, settings.RegistryName+"/web:v1"), image, b.options(b.credential(true))...); err != nil {
		t.Fatal(err)
	}
	counts := b.rules.Counts()[faults.Registry]
	// Two layers and a configuration, each by POST, PATCH and PUT, and the manifest by PUT.
	if counts["POST"].Requests != 3 || counts["PATCH"].Requests != 3 || counts["PUT"].Requests != 4 || counts["PATCH"].RequestBytes < 1<<17 {
		t.Errorf("counted %+v", counts)
	}
}

// TestCutPush: a push that is cut leaves nothing behind that looks whole, and the next one succeeds.
func TestCutPush(t *testing.T) {
	b := newBench(t)
	after := int64(100) // less than any blob
	if _, err := b.rules.Add(faults.Rule{Target: faults.Registry, Method: "PATCH", CutRequest: &after, Times: 1}); err != nil {
		t.Fatal(err)
	}
	image, digest := b.image()
	reference, writer := b.reference(settings.PortFaultRegistry, settings.RegistryName+"/web:v1"), b.credential(true)
	if err := remote.Write(reference, image, b.options(writer)...); err == nil {
		t.Fatal("the cut push succeeded")
	}
	if _, err := remote.Head(reference, b.options(writer)...); err == nil {
		t.Error("the cut push left a manifest")
	}
	if err := remote.Write(reference, image, b.options(writer)...); err != nil {
		t.Fatal(err)
	}
	if found, err := remote.Head(reference, b.options(writer)...); err != nil || found.Digest.String() != digest {
		t.Errorf("afterwards: %v, %v", found, err)
	}
}

// TestHub: anybody pulls, only the sandbox pushes.
func TestHub(t *testing.T) {
	b := newBench(t)
	password, err := registry.HubPassword(b.Settings)
	if err != nil {
		t.Fatal(err)
	}
	image, digest := b.image()
	reference := b.reference(settings.PortHub, "library/busybox:1.35")
	if err := remote.Write(reference, image, b.options("")...); err == nil {
		t.Error("anybody pushes")
	}
	sandbox := append(b.options(""), remote.WithAuth(&authn.Basic{Username: registry.HubUser, Password: password}))
	if err := remote.Write(reference, image, sandbox...); err != nil {
		t.Fatal(err)
	}
	if found, err := remote.Head(reference, b.options("")...); err != nil || found.Digest.String() != digest {
		t.Errorf("pulled by anybody: %v, %v", found, err)
	}
	if again, err := registry.HubPassword(b.Settings); err != nil || again != password {
		t.Errorf("the password changed: %v", err)
	}
}

// TestWipe: after a reset nothing is left, and the running registry goes on.
func TestWipe(t *testing.T) {
	b := newBench(t)
	image, _ := b.image()
	reference, writer := b.reference(settings.PortRegistry, settings.RegistryName+"/web:v1"), b.credential(true)
	if err := remote.Write(reference, image, b.options(writer)...); err != nil {
		t.Fatal(err)
	}
	if err := registry.Wipe(b.Settings); err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(reference, b.options(writer)...); err == nil {
		t.Error("the image is still there")
	}
	content, err := registry.OpenContent(b.Settings)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := content.Repositories(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("repositories: %v, %v", names, err)
	}
	if err := remote.Write(reference, image, b.options(writer)...); err != nil {
		t.Errorf("a push afterwards: %v", err)
	}
}

// TestClientConfig: skopeo finds both registries under their production names, by the files that are written for it.
func TestClientConfig(t *testing.T) {
	b := newBench(t)
	hosts, err := os.ReadFile(filepath.Join(b.Settings.RegistryConfig(), "docker.io", "hosts.toml"))
	if err != nil || !strings.Contains(string(hosts), `server = "`+b.Settings.URL(settings.PortHub)+`"`) {
		t.Errorf("hosts.toml: %s, %v", hosts, err)
	}
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed: its configuration is not tried")
	}
	image, digest := b.image()
	writer := b.credential(true)
	if err := remote.Write(b.reference(settings.PortRegistry, settings.RegistryName+"/web:v1"), image, b.options(writer)...); err != nil {
		t.Fatal(err)
	}
	auth := filepath.Join(t.TempDir(), "auth.json")
	encoded := base64.StdEncoding.EncodeToString([]byte(writer + ":" + writer))
	text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, b.Settings.HostPort(settings.PortRegistry), encoded)
	if err := os.WriteFile(auth, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command(skopeo, "--insecure-policy", "--registries-conf", registry.SkopeoConfig(b.Settings), "inspect", "--no-tags",
		"--authfile", auth, "docker://"+settings.RegistryHost+"/"+settings.RegistryName+"/web:v1").CombinedOutput()
	if err != nil || !strings.Contains(string(output), digest) {
		t.Errorf("inspect: %s, %v", output, err)
	}
}

// TestReferrers: like DigitalOcean's, as far as is known, the registry has no referrers API; clients fall back to tags.
func TestReferrers(t *testing.T) {
	b := newBench(t)
	response, err := client.Get(b.Settings.URL(settings.PortHub) + "/v2/library/x/referrers/sha256:" + strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("%s", response.Status)
	}
}
