package digitalocean_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// askToken asks the token service and gives the status, and the token if there is one.
func (b *bench) askToken(method, user, password string, scopes ...string) (int, string, string) {
	b.t.Helper()
	query := url.Values{"service": {settings.RegistryHost}, "scope": scopes}
	request, err := http.NewRequest(method, b.Settings.URL(settings.PortDigitalOcean)+"/v2/registry/auth?"+query.Encode(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if password != "" {
		request.SetBasicAuth(user, password)
	}
	response, err := client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	content := readAll(b.t, response)
	if response.StatusCode != http.StatusOK {
		return response.StatusCode, "", content
	}
	answer := decode[map[string]any](b.t, []byte(content))
	if answer["token"] != answer["access_token"] || answer["expires_in"] == 0.0 {
		b.t.Errorf("the answer is %s", content)
	}
	return response.StatusCode, answer["token"].(string), content
}

// credential mints a docker credential.
func (b *bench) credential(readWrite bool, lifetime time.Duration) string {
	b.t.Helper()
	token, err := b.Account.MintRegistryToken(settings.RegistryName, readWrite, lifetime)
	if err != nil {
		b.t.Fatal(err)
	}
	return token.Value
}

// TestTokenService: who gets a token for what.
func TestTokenService(t *testing.T) {
	b := newBench(t)
	reader, writer := b.credential(false, 0), b.credential(true, 0)
	cluster, err := b.Account.MintClusterToken(settings.ClusterID, 0)
	if err != nil {
		t.Fatal(err)
	}
	const own = "repository:" + settings.RegistryName + "/web:"
	for name, try := range map[string]struct {
		method, password string
		scopes           []string
		status           int
	}{
		"a reader pulls":                  {"GET", reader, []string{own + "pull"}, 200},
		"a reader pushes":                 {"GET", reader, []string{own + "pull,push"}, 403},
		"a writer pushes":                 {"GET", writer, []string{own + "pull,push"}, 200},
		"a writer deletes":                {"GET", writer, []string{own + "delete"}, 200},
		"the API's token pushes":          {"GET", settings.Token, []string{own + "push,pull"}, 200},
		"two scopes in one parameter":     {"GET", writer, []string{own + "pull " + own + "push"}, 200},
		"a mount within the registry":     {"GET", writer, []string{own + "pull,push", "repository:" + settings.RegistryName + "/base:pull"}, 200},
		"a mount from elsewhere":          {"GET", writer, []string{own + "pull,push", "repository:library/debian:pull"}, 400},
		"without the registry's name":     {"GET", writer, []string{"repository:web:pull"}, 400},
		"no scope":                        {"GET", writer, nil, 200},
		"not a scope":                     {"GET", writer, []string{"everything"}, 400},
		"nobody":                          {"GET", "", []string{own + "pull"}, 401},
		"a wrong password":                {"GET", "dop_v1_wrong", []string{own + "pull"}, 401},
		"a cluster's credential":          {"GET", cluster.Value, []string{own + "pull"}, 401},
		"a token without registry scopes": {"GET", b.token("kubernetes:read"), []string{own + "pull"}, 403},
		"a reading token pushes":          {"GET", b.token("registry:read"), []string{own + "push"}, 403},
		"OAuth2's POST":                   {"POST", writer, []string{own + "pull"}, 405},
		"the catalog":                     {"GET", reader, []string{"registry:catalog:*"}, 200},
	} {
		if status, _, content := b.askToken(try.method, "someone@example.com", try.password, try.scopes...); status != try.status {
			t.Errorf("%s: %d %s, want %d", name, status, content, try.status)
		}
	}
}

// TestTokenServiceWhileReadOnly: during garbage collection pulls go on.
func TestTokenServiceWhileReadOnly(t *testing.T) {
	b := newBench(t)
	writer := b.credential(true, 0)
	if err := b.Account.Switch(func(s *account.Switches) error { s.RegistryReadOnly = true; return nil }); err != nil {
		t.Fatal(err)
	}
	const scope = "repository:" + settings.RegistryName + "/web:"
	if status, _, _ := b.askToken("GET", "x", writer, scope+"push"); status != http.StatusUnauthorized {
		t.Errorf("a push: %d", status)
	}
	if status, _, _ := b.askToken("GET", "x", writer, scope+"pull"); status != http.StatusOK {
		t.Errorf("a pull: %d", status)
	}
}

// TestTokenExpires: by the account's clock, to the second, although the registry goes by its own; so does the
// credential that it was made from.
func TestTokenExpires(t *testing.T) {
	b := newBench(t)
	b.startRegistry()
	b.push("web:v1")
	const scope = "repository:" + settings.RegistryName + "/web:pull"
	pull := func(token string) int {
		request, err := http.NewRequest("GET", b.Settings.URL(settings.PortRegistry)+"/v2/"+settings.RegistryName+"/web/tags/list", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if challenge := response.Header.Get("WWW-Authenticate"); response.StatusCode == 401 && !strings.Contains(challenge, scope) {
			t.Errorf("the challenge is %s", challenge)
		}
		return response.StatusCode
	}
	credential := b.credential(false, 20*time.Minute)
	_, token, _ := b.askToken("GET", "x", credential, scope)
	if status := pull(token); status != http.StatusOK {
		t.Fatalf("fresh: %d", status)
	}
	if status := pull("e30.e30.e30"); status != http.StatusUnauthorized {
		t.Errorf("forged: %d", status)
	}
	if err := b.Account.Advance(15 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if status := pull(token); status != http.StatusUnauthorized {
		t.Errorf("after 15 minutes: %d", status)
	}
	status, token, _ := b.askToken("GET", "x", credential, scope)
	if status != http.StatusOK || pull(token) != http.StatusOK {
		t.Errorf("a new one after 15 minutes: %d", status)
	}
	if err := b.Account.Advance(5 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := b.askToken("GET", "x", credential, scope); status != http.StatusUnauthorized {
		t.Errorf("of an expired credential: %d", status)
	}
}

// TestTokenLog: the log says who was given what, and who then pulled.
func TestTokenLog(t *testing.T) {
	b := newBench(t)
	b.startRegistry()
	b.push("web:v1")
	granted, pushed := false, false
	requests, _ := b.Account.Requests(0)
	for _, r := range requests {
		granted = granted || r.Service == "token" && r.Principal == "registry-credential-1" && strings.Contains(r.Query, "push")
		pushed = pushed || r.Service == "registry" && r.Principal == "registry-credential-1" && r.Method == "PUT" && r.Status == http.StatusCreated
	}
	if !granted || !pushed {
		t.Errorf("granted %v, pushed %v in %+v", granted, pushed, requests)
	}
}

// TestRepositoryLimit: a plan with few repositories refuses the next one at the token service.
func TestRepositoryLimit(t *testing.T) {
	b := newBench(t)
	b.startRegistry()
	b.push("web:v1")
	if response, content := b.call("POST", "/v2/registry/subscription", settings.Token, `{"tier_slug":"starter"}`); response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", response.Status, content)
	}
	writer := b.credential(true, 0)
	if status, _, content := b.askToken("GET", "x", writer, "repository:"+settings.RegistryName+"/api:push"); status != http.StatusForbidden ||
		!strings.Contains(content, "registry contains 1 repositories, limit is 1") {
		t.Errorf("a second repository: %d %s", status, content)
	}
	if status, _, _ := b.askToken("GET", "x", writer, "repository:"+settings.RegistryName+"/web:push"); status != http.StatusOK {
		t.Errorf("the first one again: %d", status)
	}
}

// TestStorageLimit: where storage cannot grow for money, a full registry takes no push at all, and says no more than no.
func TestStorageLimit(t *testing.T) {
	b := newBench(t)
	b.startRegistry()
	b.push("web:v1")
	writer, few := b.credential(true, 0), uint64(10)
	for tier, want := range map[string]int{"starter": http.StatusForbidden, "basic": http.StatusOK} {
		if _, err := b.Account.ChangePlan(tier, nil, &few); err != nil {
			t.Fatal(err)
		}
		status, _, content := b.askToken("GET", "x", writer, "repository:"+settings.RegistryName+"/web:push")
		if status != want || strings.Contains(content, "limit") {
			t.Errorf("%s: %d %s", tier, status, content)
		}
		if status, _, _ := b.askToken("GET", "x", writer, "repository:"+settings.RegistryName+"/web:pull"); status != http.StatusOK {
			t.Errorf("%s: a pull gets %d", tier, status)
		}
	}
	if _, err := b.Account.ChangePlan("gold", nil, nil); err == nil {
		t.Error("there is a plan gold")
	}
}

// TestBareRefusals: the status alone, as clients see it that do not read the body.
func TestBareRefusals(t *testing.T) {
	b := newBench(t)
	if err := b.Account.Switch(func(s *account.Switches) error { s.RegistryBareRefusals = true; return nil }); err != nil {
		t.Fatal(err)
	}
	const scope = "repository:" + settings.RegistryName + "/web:push"
	if status, _, content := b.askToken("GET", "x", b.credential(false, 0), scope); status != http.StatusForbidden || content != "" {
		t.Errorf("%d %q", status, content)
	}
}

// TestRevoke: the token that is shown ends itself.
func TestRevoke(t *testing.T) {
	b := newBench(t)
	token := b.token("account:read")
	revoke := func(shown, named string) int {
		request, err := http.NewRequest("POST", b.Settings.URL(settings.PortDigitalOcean)+"/v1/oauth/revoke",
			strings.NewReader(url.Values{"token": {named}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Authorization", "Bearer "+shown)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	if status := revoke(token, settings.Token); status != http.StatusUnauthorized {
		t.Errorf("another's token: %d", status)
	}
	if status := revoke(token, token); status != http.StatusOK {
		t.Errorf("its own: %d", status)
	}
	if response, _ := b.call("GET", "/v2/account", token, ""); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("afterwards: %s", response.Status)
	}
}
