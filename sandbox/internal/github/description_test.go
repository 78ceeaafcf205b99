package github_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/described"
)

// descriptionPackage holds GitHub's description of its API; it is fetched from npm once and kept in the user's cache
// folder, cut down to the paths below.
const (
	descriptionPackage = "@octokit/openapi"
	descriptionVersion = "23.0.2"
	descriptionInside  = "package/generated/api.github.com.json"
)

// describedPaths are those that the stand-in answers.
var describedPaths = []string{
	"/rate_limit", "/user", "/repos/{owner}/{repo}", "/repos/{owner}/{repo}/pulls", "/repos/{owner}/{repo}/pulls/{pull_number}",
	"/repos/{owner}/{repo}/issues/{issue_number}/comments", "/repos/{owner}/{repo}/issues/comments/{comment_id}",
	"/repos/{owner}/{repo}/collaborators/{username}/permission", "/repos/{owner}/{repo}/deployments",
	"/repos/{owner}/{repo}/deployments/{deployment_id}", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
	"/repos/{owner}/{repo}/statuses/{sha}", "/repos/{owner}/{repo}/commits/{ref}/statuses",
}

// description loads it once for all tests; nil, with a line that says why, where it cannot be had.
var description = sync.OnceValues(func() (*described.API, error) {
	path, err := fetchDescription()
	if err != nil {
		fmt.Printf("the answers are not compared with GitHub's description: %v\n", err)
		return nil, nil
	}
	return described.Load(path, false)
})

// fetchDescription gives the file in the cache, and makes it first if it is not there.
func fetchDescription() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "seaway-sandbox", "github-openapi-"+descriptionVersion+".json")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	folder, err := os.MkdirTemp("", "description")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	command := exec.Command("npm", "pack", "--silent", "--pack-destination", folder, descriptionPackage+"@"+descriptionVersion)
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm pack: %w: %s", err, output)
	}
	whole, err := extract(filepath.Join(folder, "octokit-openapi-"+descriptionVersion+".tgz"))
	if err != nil {
		return "", err
	}
	part, err := cut(whole)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, errors.Join(os.WriteFile(path+".new", part, 0o644), os.Rename(path+".new", path))
}

// extract reads the description out of the package.
func extract(archive string) ([]byte, error) {
	file, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if err != nil {
			return nil, fmt.Errorf("%s is not in the package: %w", descriptionInside, err)
		}
		if header.Name == descriptionInside {
			return io.ReadAll(files)
		}
	}
}

// cut keeps the paths that are needed and the components that they refer to.
func cut(whole []byte) ([]byte, error) {
	var document struct {
		OpenAPI    string                                `json:"openapi"`
		Info       json.RawMessage                       `json:"info"`
		Paths      map[string]json.RawMessage            `json:"paths"`
		Components map[string]map[string]json.RawMessage `json:"components"`
	}
	if err := json.Unmarshal(whole, &document); err != nil {
		return nil, err
	}
	kept := map[string]map[string]json.RawMessage{}
	for path := range document.Paths {
		if !slices.Contains(describedPaths, path) {
			delete(document.Paths, path)
		}
	}
	waiting := []json.RawMessage{}
	for _, item := range document.Paths {
		waiting = append(waiting, item)
	}
	for len(waiting) > 0 {
		item := waiting[0]
		waiting = waiting[1:]
		for _, part := range bytes.Split(item, []byte(`"#/components/`))[1:] {
			reference, _, _ := bytes.Cut(part, []byte(`"`))
			kind, name, _ := strings.Cut(string(reference), "/")
			if kept[kind] == nil {
				kept[kind] = map[string]json.RawMessage{}
			}
			if _, known := kept[kind][name]; !known {
				kept[kind][name] = document.Components[kind][name]
				waiting = append(waiting, document.Components[kind][name])
			}
		}
	}
	document.Components = kept
	return json.Marshal(document)
}

// compare checks one exchange against the description. Routes that it does not hold are passed over: they are meant to be
// unknown, or are no part of the REST API.
func compare(t *testing.T, method, path, body string, got answer) {
	t.Helper()
	api, err := description()
	if err != nil {
		t.Fatal(err)
	}
	if api == nil {
		return
	}
	differences, err := api.Differences(described.Exchange{
		Method: method, Path: path, Body: body, Status: got.status, Header: got.header, Answer: got.body,
	})
	if err != nil && !errors.Is(err, described.ErrUnknown) {
		t.Error(err)
	}
	for _, difference := range differences {
		t.Errorf("%s %s: %s", method, path, difference)
	}
}
