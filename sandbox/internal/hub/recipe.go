package hub

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// files holds a folder for each image: prepare.sh runs before its packages are installed, root is copied into it, and
// finish.sh runs last.
//
//go:embed images step.sh
var files embed.FS

// The archive that everything comes from.
const (
	mirror         = "http://deb.debian.org/debian"
	securityMirror = "http://deb.debian.org/debian-security"
)

// recipe says what an image is made of.
type recipe struct {
	Name     string    // the repository below library/, and the recipe's folder
	Tag      string    // true of the version that Debian bookworm has
	Packages []string  // added to debian:bookworm-slim
	Only     string    // a folder that is the whole image; empty: the image is the base and what is added
	Config   v1.Config // what the official image of this name promises
	// Fetched is what no package of Debian's has. Without any it is left out, so that it changes no key.
	Fetched []fetched `json:",omitempty"`
}

// fetched is a file from elsewhere.
type fetched struct {
	Path   string // in the image, before finish.sh
	URL    string
	SHA256 string // hexadecimal
}

// String is the image as a Dockerfile names it.
func (r recipe) String() string { return r.Name + ":" + r.Tag }

const systemPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// base is what the others are made on.
var base = recipe{Name: "debian", Tag: "bookworm-slim", Config: v1.Config{Env: []string{systemPath}, Cmd: []string{"bash"}}}

// recipes are all images; the base comes first.
var recipes = []recipe{
	base,
	{
		Name: "python", Tag: "3.11-slim",
		Packages: []string{"python3", "python3-venv"},
		Config: v1.Config{
			Env: []string{systemPath, "LANG=C.UTF-8", "PYTHON_VERSION=3.11.2"},
			Cmd: []string{"python3"},
		},
	},
	{
		Name: "nginx", Tag: "1.22",
		Packages: []string{"nginx", "gettext-base"},
		Config: v1.Config{
			Env:          []string{systemPath, "NGINX_VERSION=1.22.1"},
			Entrypoint:   []string{"/docker-entrypoint.sh"},
			Cmd:          []string{"nginx", "-g", "daemon off;"},
			ExposedPorts: map[string]struct{}{"80/tcp": {}},
			StopSignal:   "SIGQUIT",
		},
	},
	{
		Name: "postgres", Tag: "15",
		Packages: []string{"postgresql-15", "postgresql-client-15", "gosu"},
		Config: v1.Config{
			Env: []string{
				strings.Replace(systemPath, "/usr/local/bin", "/usr/local/bin:/usr/lib/postgresql/15/bin", 1),
				"LANG=C.UTF-8", "PG_MAJOR=15", "PGDATA=/var/lib/postgresql/data",
			},
			Entrypoint:   []string{"docker-entrypoint.sh"},
			Cmd:          []string{"postgres"},
			ExposedPorts: map[string]struct{}{"5432/tcp": {}},
			Volumes:      map[string]struct{}{"/var/lib/postgresql/data": {}},
			StopSignal:   "SIGINT", // a fast shutdown
		},
	},
	{
		Name: "redis", Tag: "7",
		Packages: []string{"redis-server", "gosu"},
		Config: v1.Config{
			Env:          []string{systemPath, "REDIS_VERSION=7.0.15"},
			Entrypoint:   []string{"docker-entrypoint.sh"},
			Cmd:          []string{"redis-server"},
			ExposedPorts: map[string]struct{}{"6379/tcp": {}},
			Volumes:      map[string]struct{}{"/data": {}},
			WorkingDir:   "/data",
		},
	},
	{
		Name: "busybox", Tag: "1.35",
		Packages: []string{"busybox-static"},
		Only:     "/image",
		Config:   v1.Config{Env: []string{systemPath}, Cmd: []string{"sh"}},
	},
}

// extras are images that only some tests want: `sandbox image NAME` makes them, `sandbox up` does not.
var extras = []recipe{
	{
		Name: "tomcat", Tag: "10.1-jre17",
		Packages: []string{"openjdk-17-jre-headless", "tomcat10-common", "tomcat10-user"},
		// The compiler of pages: Debian's packages of it and of this Tomcat do not fit together.
		Fetched: []fetched{{
			Path:   "usr/share/tomcat10/lib/ecj.jar",
			URL:    "https://repo.maven.apache.org/maven2/org/eclipse/jdt/ecj/3.33.0/ecj-3.33.0.jar",
			SHA256: "f7686c4960cf70c2ebc5c500a73a8cfc04541b730c18f1c5c21329889b137f45",
		}},
		Config: v1.Config{
			Env: []string{
				strings.Replace(systemPath, "PATH=", "PATH=/usr/local/tomcat/bin:/opt/java/openjdk/bin:", 1),
				"JAVA_HOME=/opt/java/openjdk", "CATALINA_HOME=/usr/local/tomcat", "LANG=C.UTF-8",
			},
			Cmd:          []string{"catalina.sh", "run"},
			ExposedPorts: map[string]struct{}{"8080/tcp": {}},
			WorkingDir:   "/usr/local/tomcat",
		},
	},
}

// key changes whenever the image would: with the recipe, with the base's, and with the machine's own authorities.
func (r recipe) key(authorities []string) (string, error) {
	sum := sha256.New()
	text, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(sum, "%s\n%s\n%s\n%s\n", text, mirror, securityMirror, strings.Join(authorities, "\n"))
	for _, folder := range []string{"step.sh", path.Join("images", base.Name), path.Join("images", r.Name)} {
		err := fs.WalkDir(files, folder, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := files.ReadFile(name)
			fmt.Fprintf(sum, "%s %d\n%s\n", name, len(content), content)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// unpack writes the recipe's folder to the disk; scripts become executable.
func (r recipe) unpack(target string) error {
	source := path.Join("images", r.Name)
	return fs.WalkDir(files, source, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		place := filepath.Join(target, strings.TrimPrefix(name, source))
		if entry.IsDir() {
			return os.MkdirAll(place, 0o755)
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(string(content), "#!") || strings.HasSuffix(name, ".envsh") {
			mode = 0o755
		}
		return os.WriteFile(place, content, mode)
	})
}

// largestFetched is more than any file that an image needs from elsewhere.
const largestFetched = 64 << 20

// fetch puts the file below a folder, if it is the one that is meant.
func (f fetched) fetch(ctx context.Context, folder string) error {
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodGet, f.URL, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", f.URL, answer.Status)
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, largestFetched))
	if err != nil {
		return fmt.Errorf("read %s: %w", f.URL, err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(content)); sum != f.SHA256 {
		return fmt.Errorf("%s has the SHA-256 %s, and %s was expected", f.URL, sum, f.SHA256)
	}
	place := filepath.Join(folder, filepath.FromSlash(f.Path))
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	return os.WriteFile(place, content, 0o644)
}
