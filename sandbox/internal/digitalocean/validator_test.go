package digitalocean_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/described"
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
var description = sync.OnceValues(func() (*described.API, error) {
	path, found := findDescription()
	if !found {
		fmt.Printf("%s is not here: the answers are not compared with it (set SEAWAY_SHARED_DATA to its folder)\n", descriptionFile)
		return nil, nil
	}
	return described.Load(path, true)
})

// validator compares requests and answers with the description.
type validator struct {
	t   *testing.T
	api *described.API
}

// newValidator loads the description.
func newValidator(t *testing.T) *validator {
	t.Helper()
	api, err := description()
	if err != nil {
		t.Fatal(err)
	}
	return &validator{t, api}
}

// check compares one exchange. A request that is meant to be refused is not compared.
func (v *validator) check(pattern, method, path, body string, response *http.Response, content []byte) {
	v.t.Helper()
	if v.api == nil || response.StatusCode == http.StatusNotImplemented {
		return
	}
	differences, err := v.api.Differences(described.Exchange{
		Method: method, Path: path, Body: body, Status: response.StatusCode, Header: response.Header, Answer: string(content),
	})
	v.report(pattern, differences, err)
}

// checkScopes compares the scopes of a route with those of the description.
func (v *validator) checkScopes(pattern, path string, scopes []string) {
	v.t.Helper()
	if v.api == nil {
		return
	}
	method, _, _ := strings.Cut(pattern, " ")
	needed, err := v.api.Scopes(method, path)
	var differences []string
	if given := slices.Sorted(slices.Values(scopes)); err == nil && !slices.Equal(given, needed) {
		differences = append(differences, fmt.Sprintf("scopes %v, described are %v", given, needed))
	}
	v.report(pattern, differences, err)
}

// used are the entries of allowed that some exchange needed.
var used sync.Map

// report fails the test for each difference that is not allowed.
func (v *validator) report(pattern string, differences []string, err error) {
	v.t.Helper()
	if err != nil {
		differences = append(differences, err.Error())
	}
	for _, difference := range differences {
		if entry, found := allowance(pattern, difference); found {
			used.Store(entry, true)
			continue
		}
		v.t.Errorf("%s differs from the description: %s", pattern, difference)
	}
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
	api, _ := description()
	for entry, reason := range allowed {
		if _, needed := used.Load(entry); !needed && status == 0 && api != nil && allRun() {
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
