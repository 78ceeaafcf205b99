package digitalocean_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// allowed are the differences from DigitalOcean's description that are meant: the route with a part of the validator's
// message, and the reason.
var allowed = map[[2]string]string{
	{"GET /v2/account", `property "droplet_limit" is missing`}: "the same description says that it is hidden from tokens without droplet:read",
	{"GET /v2/volumes", "scopes"}:                              "the description adds api:read and api:write there, which no token can have",
	{"GET /v2/droplets", "Value is not nullable"}:              nextBackupWindow,
	{"GET /v2/droplets/{id}", "Value is not nullable"}:         nextBackupWindow,
}

// nextBackupWindow is the reason of two entries.
const nextBackupWindow = "next_backup_window is required, and there is nothing but null to say that a Droplet has no backups"

// descriptionFile is DigitalOcean's own description of its API, which is not a part of this repository.
const descriptionFile = "digitalocean-openapi.yaml"

// findDescription looks in SEAWAY_SHARED_DATA, then for a folder shared/data beside this repository.
func findDescription() (string, bool) {
	candidates := []string{os.Getenv("SEAWAY_SHARED_DATA")}
	folder, err := os.Getwd()
	for err == nil && folder != filepath.Dir(folder) {
		candidates = append(candidates, filepath.Join(folder, "..", "shared", "data"))
		folder = filepath.Dir(folder)
	}
	for _, candidate := range candidates {
		path := filepath.Join(candidate, descriptionFile)
		if _, err := os.Stat(path); candidate != "" && err == nil {
			return path, true
		}
	}
	return "", false
}

// description loads it once for all tests; nil where it is not to be found.
var description = sync.OnceValues(func() (*openapi3.T, error) {
	path, found := findDescription()
	if !found {
		fmt.Printf("%s is not here: the answers are not compared with it (set SEAWAY_SHARED_DATA to its folder)\n", descriptionFile)
		return nil, nil
	}
	document, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	document.Servers = nil // any address
	return document, nil
})

// described finds the operation of a request; nil where there is no description.
var described = sync.OnceValues(func() (routers.Router, error) {
	document, err := description()
	if err != nil || document == nil {
		return nil, err
	}
	return gorillamux.NewRouter(document)
})

// validator compares requests and answers with the description.
type validator struct {
	t      *testing.T
	router routers.Router
}

// newValidator loads the description.
func newValidator(t *testing.T) *validator {
	t.Helper()
	router, err := described()
	if err != nil {
		t.Fatal(err)
	}
	return &validator{t, router}
}

// check compares one exchange. A request that is meant to be refused is not compared.
func (v *validator) check(pattern, method, path, body string, response *http.Response, content []byte) {
	v.t.Helper()
	if v.router == nil || response.StatusCode == http.StatusNotImplemented {
		return
	}
	request, err := http.NewRequest(method, "http://api"+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+settings.Token)
	route, parameters, err := v.router.FindRoute(request)
	if err != nil {
		v.report(pattern, fmt.Errorf("route %s: %w", path, err))
		return
	}
	options := &openapi3filter.Options{
		IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	input := &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters, Route: route, Options: options}
	if response.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			v.report(pattern, fmt.Errorf("request: %w", err))
		}
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: response.StatusCode, Header: response.Header,
		Body: io.NopCloser(strings.NewReader(string(content))), Options: options,
	}
	if err := openapi3filter.ValidateResponse(context.Background(), answer); err != nil {
		v.report(pattern, fmt.Errorf("answer %d: %w", response.StatusCode, err))
	}
}

// checkScopes compares the scopes of a route with those of the description.
func (v *validator) checkScopes(pattern, path string, scopes []string) {
	v.t.Helper()
	if v.router == nil {
		return
	}
	method, _, _ := strings.Cut(pattern, " ")
	request, err := http.NewRequest(method, "http://api"+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	route, _, err := v.router.FindRoute(request)
	if err != nil {
		v.report(pattern, fmt.Errorf("route %s: %w", path, err))
		return
	}
	var needed []string
	for _, requirement := range *route.Operation.Security {
		for _, names := range requirement {
			needed = append(needed, names...)
		}
	}
	slices.Sort(needed)
	if given := slices.Sorted(slices.Values(scopes)); !slices.Equal(given, needed) {
		v.report(pattern, fmt.Errorf("scopes %v, described are %v", given, needed))
	}
}

// used are the entries of allowed that some exchange needed.
var used sync.Map

// report fails the test for each difference that is not allowed.
func (v *validator) report(pattern string, err error) {
	v.t.Helper()
	for _, difference := range split(err) {
		if entry, found := allowance(pattern, difference); found {
			used.Store(entry, true)
			continue
		}
		v.t.Errorf("%s differs from the description: %s", pattern, difference)
	}
}

// split makes one message of each of several errors, shortened to what is wrong.
func split(err error) []string {
	var several openapi3.MultiError
	if !errors.As(err, &several) {
		what, _, _ := strings.Cut(err.Error(), "Schema:")
		return []string{strings.TrimSpace(what)}
	}
	var all []string
	for _, one := range several {
		all = append(all, split(one)...)
	}
	return all
}

// allowance finds the entry that allows a difference.
func allowance(pattern, difference string) ([2]string, bool) {
	for entry := range allowed {
		if entry[0] == pattern && strings.Contains(difference, entry[1]) {
			return entry, true
		}
	}
	return [2]string{}, false
}

// TestMain checks after all tests that every allowance was needed.
func TestMain(m *testing.M) {
	status := m.Run()
	document, _ := description()
	for entry, reason := range allowed {
		if _, needed := used.Load(entry); !needed && status == 0 && document != nil && allRun() {
			fmt.Printf("nothing needs the allowance %q (%s) any more\n", entry, reason)
			status = 1
		}
	}
	os.Exit(status)
}

// allRun says whether the run was of all tests, and not of some that were chosen.
func allRun() bool {
	for _, argument := range os.Args {
		if strings.HasPrefix(argument, "-test.run=") {
			return false
		}
	}
	return true
}
