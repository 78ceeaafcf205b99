package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/control"
	"github.com/seaway-deploy/seaway/sandbox/internal/faults"
	"github.com/seaway-deploy/seaway/sandbox/internal/github"
	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// bench is a control API with what it turns.
type bench struct {
	control.Config
	t      *testing.T
	url    string
	resets int
}

// newBench starts it.
func newBench(t *testing.T) *bench {
	t.Helper()
	s := settings.Settings{Number: 1, State: t.TempDir()}
	a, err := account.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t}
	b.Config = control.Config{
		Settings: s, Account: a, GitHub: github.New(a), Rules: faults.NewRules(),
		Reset: func(context.Context) error { b.resets++; return nil },
	}
	server := httptest.NewServer(control.New(b.Config))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// call sends a request, expects a status, and reads the answer into the value, if there is one.
func (b *bench) call(status int, method, path, body string, into any) {
	b.t.Helper()
	request, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	var content bytes.Buffer
	if _, err := content.ReadFrom(response.Body); err != nil {
		b.t.Fatal(err)
	}
	if response.StatusCode != status {
		b.t.Fatalf("%s %s: %d %s, want %d", method, path, response.StatusCode, content.String(), status)
	}
	if into != nil {
		if err := json.Unmarshal(content.Bytes(), into); err != nil {
			b.t.Fatalf("%s %s: %v in %s", method, path, err, content.String())
		}
	}
}

// TestRequests: the log is read from where the reader was.
func TestRequests(t *testing.T) {
	b := newBench(t)
	for _, service := range []string{"github", "token", "github"} {
		b.Account.Record(account.Request{Service: service, Method: "GET"})
	}
	var answer struct {
		Last     int
		Requests []account.Request
	}
	b.call(200, "GET", "/requests?since=1", "", &answer)
	if answer.Last != 3 || len(answer.Requests) != 2 || answer.Requests[0].Service != "token" {
		t.Errorf("%+v", answer)
	}
	b.call(200, "GET", "/requests?service=github", "", &answer)
	if len(answer.Requests) != 2 || answer.Requests[1].Sequence != 3 {
		t.Errorf("%+v", answer)
	}
	b.call(200, "GET", "/requests?since=3", "", &answer)
	if len(answer.Requests) != 0 {
		t.Errorf("%+v", answer)
	}
}

// TestClockAndTokens: a token is minted, works, and is over when the clock says so, or when it is revoked.
func TestClockAndTokens(t *testing.T) {
	b := newBench(t)
	var token account.Token
	b.call(200, "POST", "/tokens", `{"name":"ci","scopes":["registry:read"],"expiry_seconds":60}`, &token)
	if _, err := b.Account.Authenticate(token.Value); err != nil {
		t.Fatal(err)
	}
	var before, after struct{ Now time.Time }
	b.call(200, "GET", "/clock", "", &before)
	b.call(200, "POST", "/clock", `{"advance_seconds":61}`, &after)
	if after.Now.Sub(before.Now) < 61*time.Second {
		t.Errorf("from %v to %v", before.Now, after.Now)
	}
	if _, err := b.Account.Authenticate(token.Value); err != account.ErrTokenExpired {
		t.Errorf("expired: %v", err)
	}
	b.call(400, "POST", "/clock", `{"advance_seconds":-1}`, nil)
	b.call(204, "DELETE", "/tokens/ci", "", nil)
	b.call(404, "DELETE", "/tokens/nobody", "", nil)
}

// TestSwitches: those that are named change, an unknown name is a mistake and changes nothing.
func TestSwitches(t *testing.T) {
	b := newBench(t)
	var switches account.Switches
	b.call(200, "POST", "/switches", `{"balancer_delay_seconds":20}`, &switches)
	if switches.BalancerDelay != 20 || switches.BalancerQuota == 0 {
		t.Errorf("%+v", switches)
	}
	b.call(400, "POST", "/switches", `{"balancer_quota":1,"balancer_dely":2}`, nil)
	if b.Account.Switches().BalancerQuota == 1 {
		t.Error("a refused body changed a switch")
	}
}

// TestPlan: by its slug, with limits of the caller's own.
func TestPlan(t *testing.T) {
	b := newBench(t)
	var plan struct {
		Slug         string
		Repositories uint64 `json:"included_repositories"`
		Storage      uint64 `json:"included_storage_bytes"`
	}
	b.call(200, "POST", "/registry/plan", `{"tier":"starter","storage_bytes":1000}`, &plan)
	if plan.Slug != "starter" || plan.Repositories != 1 || plan.Storage != 1000 {
		t.Errorf("%+v", plan)
	}
	b.call(400, "POST", "/registry/plan", `{"tier":"gold"}`, nil)
}

// TestFaults: rules are added, listed and removed; mistakes are told.
func TestFaults(t *testing.T) {
	b := newBench(t)
	var rule faults.Rule
	b.call(200, "POST", "/faults", `{"target":"registry","method":"PUT","status":503,"times":2}`, &rule)
	var rules []faults.Rule
	b.call(200, "GET", "/faults", "", &rules)
	if len(rules) != 1 || rules[0].ID != rule.ID || rules[0].Method != "PUT" {
		t.Errorf("%+v", rules)
	}
	b.call(204, "DELETE", "/faults/"+rule.ID, "", nil)
	b.call(404, "DELETE", "/faults/"+rule.ID, "", nil)
	b.call(400, "POST", "/faults", `{"target":"registry"}`, nil)
	b.call(200, "GET", "/faults/counts", "", nil)
	b.call(204, "DELETE", "/faults/counts", "", nil)
	b.call(204, "DELETE", "/faults", "", nil)
}

// TestGitHub: what others do on GitHub.
func TestGitHub(t *testing.T) {
	b := newBench(t)
	var comments []github.Comment
	b.call(200, "POST", "/github/comments", `{"author":"mallory","body":"<!-- seaway -->","count":3}`, &comments)
	b.call(204, "DELETE", "/github/comments/"+jsonText(comments[0].ID), "", nil)
	b.call(404, "DELETE", "/github/comments/"+jsonText(comments[0].ID), "", nil)
	b.call(200, "GET", "/github/comments", "", &comments)
	if len(comments) != 2 || comments[0].Author != "mallory" {
		t.Errorf("%+v", comments)
	}
	var pull github.Pull
	b.call(200, "POST", "/github/pulls/42", `{"state":"closed"}`, &pull)
	if pull.State != "closed" || pull.SHA != github.HeadSHA {
		t.Errorf("%+v", pull)
	}
	b.call(404, "POST", "/github/pulls/7", `{}`, nil)
	b.call(200, "POST", "/github/trouble", `{"status":502,"times":1}`, nil)
	b.call(200, "GET", "/github/deployments", "", nil)
}

// TestReset: everything is as in the beginning, but the credential that the cluster holds still works.
func TestReset(t *testing.T) {
	b := newBench(t)
	_, password, err := b.Account.PullCredential(settings.RegistryName)
	if err != nil {
		t.Fatal(err)
	}
	b.GitHub.AddComment(42, "somebody", "x")
	b.call(200, "POST", "/faults", `{"target":"registry","hold":true}`, nil)
	b.call(200, "POST", "/switches", `{"balancer_quota":1}`, nil)
	image := registry.StorageFolder(b.Settings) + "/docker/registry"
	if err := os.MkdirAll(image, 0o755); err != nil {
		t.Fatal(err)
	}
	b.call(204, "POST", "/reset", "", nil)
	if b.resets != 1 || len(b.GitHub.Comments(42)) != 0 || len(b.Rules.List()) != 0 || b.Account.Switches().BalancerQuota == 1 {
		t.Error("something was not reset")
	}
	if _, err := os.Stat(image); !os.IsNotExist(err) {
		t.Errorf("the images are still there: %v", err)
	}
	if _, err := b.Account.Authenticate(password); err != nil {
		t.Errorf("the cluster's credential: %v", err)
	}
}

// TestHelp: the table of the package comment is what a person gets.
func TestHelp(t *testing.T) {
	b := newBench(t)
	response, err := http.Get(b.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var content bytes.Buffer
	if _, err := content.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	if text := content.String(); !strings.Contains(text, "POST   /reset") || strings.Contains(text, "import") {
		t.Errorf("%s", text)
	}
}

// jsonText writes a value as JSON.
func jsonText(value any) string {
	data, _ := json.Marshal(value)
	return string(data)
}
