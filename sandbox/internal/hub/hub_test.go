package hub

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sys/unix"
)

// tree makes a folder like what a package leaves: an old file with a second name, a new one, a link, a private folder.
func tree(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	old := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	write := func(name, content string) {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	write("usr/bin/tool", "program")
	write("etc/new", "just written")
	err := errors.Join(
		os.Chtimes(filepath.Join(folder, "usr/bin/tool"), old, old),
		os.Link(filepath.Join(folder, "usr/bin/tool"), filepath.Join(folder, "usr/bin/tool-2")),
		os.Symlink("tool", filepath.Join(folder, "usr/bin/alias")),
		os.Mkdir(filepath.Join(folder, "private"), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// entries reads a layer back.
func entries(t *testing.T, path string) map[string]*tar.Header {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*tar.Header{}
	for archive := tar.NewReader(plain); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = header
	}
}

func TestALayerDependsOnNothingButItsFolder(t *testing.T) {
	start := time.Now().Add(-time.Minute)
	folder := tree(t)
	first, second := filepath.Join(t.TempDir(), "1"), filepath.Join(t.TempDir(), "2")
	if err := writeLayer(folder, first, start); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(folder, "etc/new"), later, later); err != nil {
		t.Fatal(err)
	}
	if err := writeLayer(folder, second, start); err != nil {
		t.Fatal(err)
	}
	one, _ := os.ReadFile(first)
	two, _ := os.ReadFile(second)
	if !bytes.Equal(one, two) {
		t.Error("the same folder at another time gives another layer")
	}
	got := entries(t, first)
	if file := got["usr/bin/tool"]; file == nil || file.ModTime.Year() != 2020 || file.Mode != 0o640 {
		t.Errorf("an old file lost its time or mode: %+v", file)
	}
	if link := got["usr/bin/tool-2"]; link == nil || link.Typeflag != tar.TypeLink || link.Linkname != "usr/bin/tool" {
		t.Errorf("a second name became something else: %+v", link)
	}
	if fresh := got["etc/new"]; fresh == nil || !fresh.ModTime.Equal(epoch) {
		t.Errorf("a new file kept its time: %+v", fresh)
	}
	if private := got["private/"]; private == nil || private.Mode != 0o700 {
		t.Errorf("a folder lost its mode: %+v", private)
	}
}

func TestWhatAnOverlayHidesTheLayerHides(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the marks of an overlay are devices and trusted attributes")
	}
	folder := tree(t)
	err := errors.Join(
		unix.Mknod(filepath.Join(folder, "etc/gone"), unix.S_IFCHR, 0),
		unix.Mknod(filepath.Join(folder, "etc/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Setxattr(filepath.Join(folder, "private"), "trusted.overlay.opaque", []byte("y"), 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	layer := filepath.Join(t.TempDir(), "layer")
	if err := writeLayer(folder, layer, time.Now()); err != nil {
		t.Fatal(err)
	}
	got := entries(t, layer)
	for name, want := range map[string]bool{
		"etc/.wh.gone": true, "etc/gone": false, "etc/null": false, "private/.wh..wh..opq": true,
	} {
		if (got[name] != nil) != want {
			t.Errorf("%s: in the layer %v, want %v", name, !want, want)
		}
	}
}

func TestOnlyAuthoritiesThatNoPackageBroughtAreOwn(t *testing.T) {
	folder := t.TempDir()
	certificate := func(text string) string {
		return "-----BEGIN CERTIFICATE-----\n" + text + "\n-----END CERTIFICATE-----\n"
	}
	common, company := certificate("Y29tbW9u"), certificate("Y29tcGFueQ==")
	err := errors.Join(
		os.WriteFile(filepath.Join(folder, "bundle"), []byte(common+"# ours\n"+company+company), 0o644),
		os.WriteFile(filepath.Join(folder, "Common.crt"), []byte(common), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	own, err := ownAuthorities(filepath.Join(folder, "bundle"), filepath.Join(folder, "*.crt"))
	if err != nil || !reflect.DeepEqual(own, []string{company}) {
		t.Errorf("got %q, %v", own, err)
	}
	own, err = ownAuthorities(filepath.Join(folder, "none"), "")
	if err != nil || own != nil {
		t.Errorf("a machine without a bundle: %q, %v", own, err)
	}
}

func TestAKeyChangesWithWhatTheImageIsMadeOf(t *testing.T) {
	key := func(r recipe, authorities ...string) string {
		text, err := r.key(authorities)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	changed := recipes[1]
	changed.Packages = append([]string{"gcc"}, changed.Packages...)
	seen := map[string]string{}
	for what, text := range map[string]string{
		"base": key(base), "python": key(recipes[1]), "python with a package": key(changed), "python with an authority": key(recipes[1], "x"),
	} {
		if other, taken := seen[text]; taken {
			t.Errorf("%s has the key of %s", what, other)
		}
		seen[text] = what
	}
	if key(base) != key(base) {
		t.Error("a key differs from one call to the next")
	}
}

// made stands in for the workshop: an image of one small layer.
func made(t *testing.T, r recipe) v1.ImageIndex {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layer.tar.gz")
	if err := writeLayer(tree(t), path, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	layer, err := layerFile(path)
	if err != nil {
		t.Fatal(err)
	}
	index, err := assemble(r, []v1.Layer{layer})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func TestAKeptImageIsPushedOnceAndPulledAsItWas(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	kept, err := openStore(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.close()
	r := recipes[4]
	if err := kept.keep(r, "key", made(t, r)); err != nil {
		t.Fatal(err)
	}
	image, err := kept.find("key")
	if err != nil || image == nil {
		t.Fatalf("find what was kept: %v, %v", image, err)
	}
	config := Config{Registry: strings.TrimPrefix(server.URL, "http://"), Push: authn.Anonymous}
	for _, want := range []bool{true, false} {
		if sent, err := push(t.Context(), config, r, image); err != nil || sent != want {
			t.Errorf("sent %v, %v; want %v", sent, err, want)
		}
	}
	reference, _ := name.ParseReference(config.Registry+"/library/redis:7", name.Insecure)
	pulled, err := remote.Image(reference, remote.WithPlatform(platform))
	if err != nil {
		t.Fatal(err)
	}
	file, err := pulled.ConfigFile()
	if err != nil || file.Config.WorkingDir != "/data" || file.Architecture != "amd64" {
		t.Errorf("the pulled image is %+v, %v", file, err)
	}
}

func TestAnOlderImageOfTheSameNameIsForgotten(t *testing.T) {
	kept, err := openStore(t.Context(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.close()
	for key, content := range []recipe{recipes[1], base} {
		if err := kept.keep(base, []string{"old", "new"}[key], made(t, content)); err != nil {
			t.Fatal(err)
		}
	}
	blobs := func() int {
		found, _ := filepath.Glob(filepath.Join(string(kept.path), "blobs", "sha256", "*"))
		return len(found)
	}
	before := blobs()
	if err := kept.sweep(); err != nil || blobs() >= before {
		t.Errorf("swept %d blobs down to %d, %v", before, blobs(), err)
	}
	if old, err := kept.find("old"); old != nil || err != nil {
		t.Errorf("the old image is still there: %v, %v", old, err)
	}
	current, err := kept.find("new")
	if current == nil || err != nil {
		t.Fatalf("the new image is not there: %v", err)
	}
	if layers, err := layersOf(current); err != nil || len(layers) != 1 {
		t.Errorf("the new image is not whole: %d layers, %v", len(layers), err)
	}
}

func TestAnUnknownExtraNamesThoseThereAre(t *testing.T) {
	err := Add(t.Context(), Config{}, "tomcat:9")
	if err == nil || !strings.Contains(err.Error(), "tomcat:10.1-jre17") {
		t.Errorf("got %v", err)
	}
}

func TestAStoreIsOpenToOneAtATime(t *testing.T) {
	folder, log := t.TempDir(), slog.New(slog.DiscardHandler)
	first, err := openStore(t.Context(), folder, log)
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := openStore(ended, folder, log); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one, told to stop: %v", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	second, err := openStore(t.Context(), folder, log)
	if err != nil {
		t.Fatalf("after the first is closed: %v", err)
	}
	_ = second.close()
}

func TestScriptsAreShell(t *testing.T) {
	for _, r := range append(extras, recipes...) {
		folder := t.TempDir()
		if err := r.unpack(folder); err != nil {
			t.Fatal(err)
		}
		err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
			info, statErr := os.Stat(path)
			if err = errors.Join(err, statErr); err != nil || entry.IsDir() || !strings.HasSuffix(path, "sh") {
				return err
			}
			shell := "sh"
			text, err := os.ReadFile(path)
			if strings.HasPrefix(string(text), "#!/bin/bash") {
				shell = "bash"
			}
			if strings.HasPrefix(string(text), "#!") && info.Mode()&0o111 == 0 {
				t.Errorf("%s cannot be run", path)
			}
			if output, err := exec.Command(shell, "-n", path).CombinedOutput(); err != nil {
				t.Errorf("%s: %s", path, output)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestOnlyTheFileThatIsMeantIsFetched(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a library") }))
	defer server.Close()
	folder := t.TempDir()
	file := fetched{Path: "lib/a.jar", URL: server.URL, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte("a library")))}
	if err := file.fetch(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(folder, "lib", "a.jar")); err != nil || string(text) != "a library" {
		t.Errorf("got %q, %v", text, err)
	}
	other := fetched{Path: "lib/b.jar", URL: server.URL, SHA256: strings.Repeat("0", 64)}
	if err := other.fetch(t.Context(), folder); err == nil || !strings.Contains(err.Error(), other.SHA256) {
		t.Errorf("another file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "lib", "b.jar")); err == nil {
		t.Error("another file was written")
	}
}
