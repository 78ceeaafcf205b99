package github_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/github"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// The addresses that most tests use.
const (
	repository = "/repos/" + settings.GitHubRepo
	comments   = repository + "/issues/42/comments"
)

// bench is GitHub with a client.
type bench struct {
	*github.Server
	t       *testing.T
	account *account.Account
	url     string
}

// newBench starts GitHub.
func newBench(t *testing.T) *bench {
	t.Helper()
	a, err := account.Open(settings.Settings{Number: 1, State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	server := github.New(a)
	listener := httptest.NewServer(server.Handler())
	t.Cleanup(listener.Close)
	return &bench{server, t, a, listener.URL}
}

// answer is what GitHub said.
type answer struct {
	status int
	header http.Header
	body   string
}

// object reads an answer that is an object.
func (a answer) object(t *testing.T) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(a.body), &object); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return object
}

// list reads an answer that is a list.
func (a answer) list(t *testing.T) []map[string]any {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return list
}

// call sends a request as the workflow's token; an address may be absolute.
func (b *bench) call(method, address, body string) answer {
	b.t.Helper()
	return b.callAs(settings.GitHubToken, method, address, body)
}

// callAs sends a request with a token.
func (b *bench) callAs(token, method, address, body string) answer {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.url + address
	}
	request, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	got := answer{response.StatusCode, response.Header, string(content)}
	compare(b.t, method, strings.TrimPrefix(strings.TrimPrefix(address, b.url), "/api/v3"), body, got)
	return got
}

// TestCommentLife: made by the bot, edited by PATCH and by nothing else, deleted.
func TestCommentLife(t *testing.T) {
	b := newBench(t)
	made := b.call("POST", comments, `{"body":"building"}`)
	if made.status != http.StatusCreated {
		t.Fatalf("%+v", made)
	}
	comment := made.object(t)
	if author := comment["user"].(map[string]any); author["login"] != "github-actions[bot]" || author["type"] != "Bot" {
		t.Errorf("written by %v", author)
	}
	address := comment["url"].(string)
	for _, method := range []string{"POST", "PUT"} {
		if refused := b.call(method, address, `{"body":"done"}`); refused.status != http.StatusNotFound {
			t.Errorf("%s on a comment: %d", method, refused.status)
		}
	}
	if edited := b.call("PATCH", address, `{"body":"done"}`); edited.status != http.StatusOK || edited.object(t)["body"] != "done" {
		t.Errorf("edited: %+v", edited)
	}
	if read := b.call("GET", address, ""); read.object(t)["body"] != "done" {
		t.Errorf("read: %+v", read)
	}
	if gone := b.call("DELETE", address, ""); gone.status != http.StatusNoContent {
		t.Errorf("deleted: %+v", gone)
	}
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		if missing := b.call(method, address, `{"body":"x"}`); missing.status != http.StatusNotFound {
			t.Errorf("%s of a deleted comment: %d", method, missing.status)
		}
	}
}

// TestPaging: the Link header leads through all comments, once each and in their order.
func TestPaging(t *testing.T) {
	b := newBench(t)
	for range 65 {
		b.AddComment(settings.PullRequest, "somebody", "hm")
	}
	b.call("POST", comments, `{"body":"last"}`)
	var seen []map[string]any
	pages, next := 0, comments+"?per_page=25"
	for ; next != ""; pages++ {
		page := b.call("GET", next, "")
		seen = append(seen, page.list(t)...)
		next = ""
		for link := range strings.SplitSeq(page.header.Get("Link"), ", ") {
			if address, rel, _ := strings.Cut(link, "; "); rel == `rel="next"` {
				next = strings.Trim(address, "<>")
			}
		}
	}
	if pages != 3 || len(seen) != 66 || seen[65]["body"] != "last" {
		t.Errorf("%d comments on %d pages, the last is %v", len(seen), pages, seen[len(seen)-1]["body"])
	}
	if short := b.call("GET", comments+"?per_page=1000", ""); len(short.list(t)) != 66 {
		t.Errorf("a page of up to 100 holds %d", len(short.list(t)))
	}
}

// TestCommentLimits: what GitHub refuses is refused, and nothing is written.
func TestCommentLimits(t *testing.T) {
	b := newBench(t)
	long, _ := json.Marshal(map[string]string{"body": strings.Repeat("ü", 65_536)})
	if fits := b.call("POST", comments, string(long)); fits.status != http.StatusCreated {
		t.Errorf("65,536 characters: %d", fits.status)
	}
	longer, _ := json.Marshal(map[string]string{"body": strings.Repeat("ü", 65_537)})
	for body, status := range map[string]int{
		string(longer): http.StatusUnprocessableEntity, `{}`: http.StatusUnprocessableEntity, `{"body":""}`: http.StatusUnprocessableEntity,
		`{`: http.StatusBadRequest,
	} {
		if refused := b.call("POST", comments, body); refused.status != status {
			t.Errorf("%.20s: %d, want %d", body, refused.status, status)
		}
	}
	if left := b.Comments(settings.PullRequest); len(left) != 1 {
		t.Errorf("%d comments", len(left))
	}
	if elsewhere := b.call("POST", repository+"/issues/7/comments", `{"body":"x"}`); elsewhere.status != http.StatusNotFound {
		t.Errorf("on another issue: %d", elsewhere.status)
	}
}

// TestWho: tokens are people or workflows; a workflow's token is no user, as on GitHub.
func TestWho(t *testing.T) {
	b := newBench(t)
	for token, status := range map[string]int{
		"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, settings.GitHubToken: http.StatusForbidden, github.UserToken: http.StatusOK,
	} {
		if who := b.callAs(token, "GET", "/user", ""); who.status != status {
			t.Errorf("%q: %d, want %d", token, who.status, status)
		}
	}
	who := b.call("POST", "/graphql", `{"query":"query { viewer { login } }"}`)
	if !strings.Contains(who.body, "github-actions[bot]") {
		t.Errorf("viewer: %s", who.body)
	}
	if enterprise := b.call("GET", "/api/v3"+repository, ""); enterprise.object(t)["full_name"] != settings.GitHubRepo ||
		!strings.Contains(enterprise.body, "/api/v3/repos/") {
		t.Errorf("under /api/v3: %s", enterprise.body)
	}
	if elsewhere := b.call("GET", "/repos/acme/other", ""); elsewhere.status != http.StatusNotFound {
		t.Errorf("another repository: %d", elsewhere.status)
	}
}

// TestTrouble: failures as many as asked for, a token without permission, and the end of the limit.
func TestTrouble(t *testing.T) {
	b := newBench(t)
	b.SetTrouble(github.Trouble{Status: 502, Times: 2, Writes: true, RetryAfter: 3})
	if read := b.call("GET", comments, ""); read.status != http.StatusOK {
		t.Errorf("a read: %d", read.status)
	}
	for _, status := range []int{502, 502, 201, 201} {
		if written := b.call("POST", comments, `{"body":"x"}`); written.status != status || (status == 502) != (written.header.Get("Retry-After") == "3") {
			t.Errorf("%d, want %d", written.status, status)
		}
	}
	b.SetTrouble(github.Trouble{ReadOnly: true})
	if refused := b.call("POST", comments, `{"body":"x"}`); refused.status != http.StatusForbidden || !strings.Contains(refused.body, "Resource not accessible by integration") {
		t.Errorf("read-only: %+v", refused)
	}
	b.SetTrouble(github.Trouble{})
	first := b.call("GET", "/rate_limit", "")
	if first.header.Get("x-ratelimit-limit") != "1000" || first.header.Get("x-ratelimit-remaining") == "0" {
		t.Errorf("headers: %v", first.header)
	}
	for range 1000 {
		b.call("GET", "/rate_limit", "")
	}
	if over := b.call("GET", comments, ""); over.status != http.StatusForbidden || over.header.Get("x-ratelimit-remaining") != "0" {
		t.Errorf("above the limit: %+v", over)
	}
}

// TestPullRequest: it is seeded open, and can be closed under a client's eyes.
func TestPullRequest(t *testing.T) {
	b := newBench(t)
	pull := b.call("GET", repository+"/pulls/42", "").object(t)
	if pull["state"] != "open" || pull["head"].(map[string]any)["sha"] != github.HeadSHA {
		t.Errorf("%v", pull)
	}
	if found := b.call("GET", repository+"/pulls?head=acme:"+github.HeadRef, "").list(t); len(found) != 1 {
		t.Errorf("by its branch: %v", found)
	}
	b.SetPull(42, func(p *github.Pull) { p.State = "closed" })
	if closed := b.call("GET", repository+"/pulls/42", "").object(t); closed["state"] != "closed" {
		t.Errorf("%v", closed["state"])
	}
	if open := b.call("GET", repository+"/pulls", "").list(t); len(open) != 0 {
		t.Errorf("listed as open: %v", open)
	}
}

// TestDeployments: the last success retires the ones before it in its environment.
func TestDeployments(t *testing.T) {
	b := newBench(t)
	var addresses []string
	for range 2 {
		made := b.call("POST", repository+"/deployments", `{"ref":"main","environment":"preview","auto_merge":false,"required_contexts":[]}`)
		if made.status != http.StatusCreated {
			t.Fatalf("%+v", made)
		}
		addresses = append(addresses, made.object(t)["statuses_url"].(string))
	}
	for _, address := range addresses {
		if status := b.call("POST", address, `{"state":"success","environment_url":"http://x"}`); status.status != http.StatusCreated {
			t.Fatalf("%+v", status)
		}
	}
	for i, state := range []string{"inactive", "success"} {
		if last := b.call("GET", addresses[i], "").list(t)[0]; last["state"] != state {
			t.Errorf("deployment %d is %v, want %s", i, last["state"], state)
		}
	}
	if wrong := b.call("POST", addresses[0], `{"state":"deployed"}`); wrong.status != http.StatusUnprocessableEntity {
		t.Errorf("an unknown state: %d", wrong.status)
	}
	if status := b.call("POST", repository+"/statuses/"+github.HeadSHA, `{"state":"success","context":"seaway"}`); status.status != http.StatusCreated {
		t.Errorf("%+v", status)
	}
	if listed := b.call("GET", repository+"/commits/"+github.HeadSHA+"/statuses", "").list(t); len(listed) != 1 {
		t.Errorf("%v", listed)
	}
}

// TestLog: calls are recorded with who made them and what they wrote.
func TestLog(t *testing.T) {
	b := newBench(t)
	b.call("POST", comments, `{"body":"hello"}`)
	b.call("GET", "/moon", "")
	requests, _ := b.account.Requests(0)
	if len(requests) != 2 || requests[0].Principal != github.Bot || !strings.Contains(requests[0].Body, "hello") || requests[1].Note != "unknown route" {
		t.Errorf("%+v", requests)
	}
}
