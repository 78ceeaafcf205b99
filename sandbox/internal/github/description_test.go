package github_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
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

// described finds the operation of a request; nil, with a line that says why, where the description cannot be had.
var described = sync.OnceValues(func() (routers.Router, error) {
	path, err := fetchDescription()
	if err != nil {
		fmt.Printf("the answers are not compared with GitHub's description: %v\n", err)
		return nil, nil
	}
	document, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	document.Servers = nil // any address
	return gorillamux.NewRouter(document)
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
	router, err := described()
	if err != nil {
		t.Fatal(err)
	}
	if router == nil {
		return
	}
	request, err := http.NewRequest(method, "http://api"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	route, parameters, err := router.FindRoute(request)
	if err != nil {
		return
	}
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: parameters, Route: route, Options: &openapi3filter.Options{MultiError: true},
	}
	if got.status < 300 {
		if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
			t.Errorf("%s %s: the request: %s", method, path, brief(err))
		}
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: got.status, Header: got.header, Options: input.Options,
		Body: io.NopCloser(strings.NewReader(got.body)),
	}
	if err := openapi3filter.ValidateResponse(t.Context(), answer); err != nil {
		t.Errorf("%s %s: the answer %d: %s", method, path, got.status, brief(err))
	}
}

// brief is what differs, without the schemas.
func brief(err error) string {
	var several openapi3.MultiError
	if !errors.As(err, &several) {
		what, _, _ := strings.Cut(err.Error(), "Schema:")
		return strings.TrimSpace(what)
	}
	var all []string
	for _, one := range several {
		all = append(all, brief(one))
	}
	return strings.Join(all, "; ")
}
