// Package control is the sandbox's own API, on settings.PortControl: what tests look at and turn. Bodies and answers are
// JSON; a mistake is answered with 400 (or 404) and {"message": …}. There is no authentication.
//
//	GET    /                          this table, as text
//	GET    /requests?since=N          requests to all emulated services with a sequence number above N, and the last number:
//	                                  {"last": 12, "requests": [{"sequence","at","service","method","path","query","status",
//	                                  "principal","body","note"}]}; service=NAME gives only those of
//	                                  digitalocean, token, registry, registry-old, hub or github
//	GET    /clock                     {"now": "2026-…"}: the account's time
//	POST   /clock                     {"advance_seconds": 700}: credentials expire, load balancers become active
//	GET    /switches                  the delays, limits and faults of the account (account.Switches)
//	POST   /switches                  changes those that the body names: {"balancer_delay_seconds": 20}
//	GET    /tokens                    all tokens with their values
//	POST   /tokens                    {"name": "ci", "scopes": ["registry:read"], "expiry_seconds": 600}: a token for the API
//	DELETE /tokens/NAME_OR_VALUE      revokes a token of any kind; the pull credential of the registry integration is
//	                                  called integration-REGISTRY
//	POST   /registry/plan             {"tier": "starter", "repositories": 1, "storage_bytes": 1000}: the account's plan, by its
//	                                  slug, with other limits than its own where they are named
//	GET    /faults                    the rules of the fault proxies with their hits (faults.Rule)
//	POST   /faults                    adds one: {"target": "registry", "method": "PATCH|PUT", "path": "/blobs/uploads/",
//	                                  "times": 1, "cut_request_after": 1000}; the answer has its id
//	DELETE /faults, /faults/ID        removes all of them, or one
//	GET    /faults/counts             requests, bytes and statuses that the proxies have carried, by target and method
//	DELETE /faults/counts             begins to count anew
//	GET    /github/comments?issue=42  all comments on a pull request
//	POST   /github/comments           {"author": "somebody", "body": "…", "issue": 42, "count": 130}: as written by anybody
//	DELETE /github/comments/ID        as removed by its author
//	GET    /github/deployments        all deployments with their statuses
//	POST   /github/pulls/42           {"state": "closed", "merged": true, "draft": false, "sha": "…"}: what the body names
//	POST   /github/trouble            {"status": 502, "times": 3, "writes_only": true, "retry_after": 1, "delay_seconds": 2,
//	                                  "read_only_token": false}: replaces the trouble; {} ends it
//	POST   /reset                     puts everything back to the seed: 204
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/faults"
	"github.com/seaway-deploy/seaway/sandbox/internal/github"
	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
	"github.com/seaway-deploy/seaway/sandbox/internal/serve"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Config is what the control API turns.
type Config struct {
	Settings settings.Settings
	Account  *account.Account
	GitHub   *github.Server
	Rules    *faults.Rules
	Listen   serve.Listen
	Log      *slog.Logger
	Reset    func(context.Context) error // resets what is not in this Config, before the rest; may be nil
	Reseeded func(context.Context) error // is told when all is back to the seed; may be nil
}

// Run serves until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	listeners, err := config.Listen(settings.PortControl)
	if err != nil {
		return err
	}
	ready(config.Settings.URL(settings.PortControl))
	return serve.HTTP(ctx, listeners, New(config), config.Log)
}

// server answers the control API.
type server struct{ Config }

// work does what a request asks for and gives the answer; nil is 204.
type work func(*http.Request) (any, error)

// errNotFound is the answer for what is not there.
var errNotFound = errors.New("there is none with this name")

// New gives the control API as a handler.
func New(config Config) http.Handler {
	s := &server{config}
	mux := http.NewServeMux()
	for pattern, do := range map[string]work{
		"GET /requests":                s.requests,
		"GET /clock":                   s.clock,
		"POST /clock":                  s.advance,
		"GET /switches":                s.switches,
		"POST /switches":               s.changeSwitches,
		"GET /tokens":                  s.tokens,
		"POST /tokens":                 s.mintToken,
		"DELETE /tokens/{token}":       s.revokeToken,
		"POST /registry/plan":          s.changePlan,
		"GET /faults":                  s.listFaults,
		"POST /faults":                 s.addFault,
		"DELETE /faults":               s.clearFaults,
		"DELETE /faults/{id}":          s.removeFault,
		"GET /faults/counts":           s.counts,
		"DELETE /faults/counts":        s.clearCounts,
		"GET /github/comments":         s.comments,
		"POST /github/comments":        s.addComments,
		"DELETE /github/comments/{id}": s.deleteComment,
		"GET /github/deployments":      s.deployments,
		"POST /github/pulls/{number}":  s.changePull,
		"POST /github/trouble":         s.trouble,
		"POST /reset":                  s.reset,
	} {
		mux.Handle(pattern, answer(do))
	}
	mux.HandleFunc("GET /{$}", help)
	return mux
}

// answer makes a handler of work.
func answer(do work) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := http.StatusOK, any(nil)
		value, err := do(r)
		switch {
		case errors.Is(err, errNotFound):
			status, body = http.StatusNotFound, map[string]string{"message": err.Error()}
		case err != nil:
			status, body = http.StatusBadRequest, map[string]string{"message": err.Error()}
		case value == nil:
			w.WriteHeader(http.StatusNoContent)
			return
		default:
			body = value
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // a client that has gone away needs no answer
	})
}

// decode reads a body; a field that nobody knows is a mistake of the caller.
func decode(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("the body is not what %s %s takes: %w", r.Method, r.URL.Path, err)
	}
	return nil
}

// requests reads the log.
func (s *server) requests(r *http.Request) (any, error) {
	after := 0
	if text := r.URL.Query().Get("since"); text != "" {
		var err error
		if after, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("since is %q: give a sequence number", text)
		}
	}
	requests, last := s.Account.Requests(after)
	if service := r.URL.Query().Get("service"); service != "" {
		requests = slices.DeleteFunc(requests, func(q account.Request) bool { return q.Service != service })
	}
	return map[string]any{"last": last, "requests": append([]account.Request{}, requests...)}, nil
}

// clock tells the account's time.
func (s *server) clock(*http.Request) (any, error) {
	return map[string]time.Time{"now": s.Account.Now()}, nil
}

// advance moves it forward.
func (s *server) advance(r *http.Request) (any, error) {
	var body struct {
		By account.Seconds `json:"advance_seconds"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if err := s.Account.Advance(body.By.Duration()); err != nil {
		return nil, err
	}
	return s.clock(r)
}

// switches tells how the account behaves.
func (s *server) switches(*http.Request) (any, error) { return s.Account.Switches(), nil }

// changeSwitches changes that.
func (s *server) changeSwitches(r *http.Request) (any, error) {
	if err := s.Account.Switch(func(switches *account.Switches) error { return decode(r, switches) }); err != nil {
		return nil, err
	}
	return s.switches(r)
}

// tokens lists all tokens.
func (s *server) tokens(*http.Request) (any, error) { return s.Account.Tokens(), nil }

// mintToken makes a token for the API.
func (s *server) mintToken(r *http.Request) (any, error) {
	var body struct {
		Name   string          `json:"name"`
		Scopes []string        `json:"scopes"`
		Expiry account.Seconds `json:"expiry_seconds"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	return s.Account.MintAPIToken(body.Name, body.Scopes, body.Expiry.Duration())
}

// revokeToken ends a token of any kind.
func (s *server) revokeToken(r *http.Request) (any, error) {
	err := s.Account.Revoke(r.PathValue("token"))
	if errors.Is(err, account.ErrTokenUnknown) {
		return nil, errNotFound
	}
	return nil, err
}

// changePlan puts the account on a plan of the registry, whatever it holds by now.
func (s *server) changePlan(r *http.Request) (any, error) {
	var body struct {
		Tier         string  `json:"tier"`
		Repositories *uint64 `json:"repositories"`
		StorageBytes *uint64 `json:"storage_bytes"`
	}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	return s.Account.ChangePlan(body.Tier, body.Repositories, body.StorageBytes)
}

// listFaults lists the rules of the fault proxies.
func (s *server) listFaults(*http.Request) (any, error) { return s.Rules.List(), nil }

// addFault adds a rule.
func (s *server) addFault(r *http.Request) (any, error) {
	var rule faults.Rule
	if err := decode(r, &rule); err != nil {
		return nil, err
	}
	return s.Rules.Add(rule)
}

// clearFaults removes all rules and forgets the counts.
func (s *server) clearFaults(*http.Request) (any, error) {
	s.Rules.Clear()
	return nil, nil
}

// removeFault removes one rule.
func (s *server) removeFault(r *http.Request) (any, error) {
	if !s.Rules.Remove(r.PathValue("id")) {
		return nil, errNotFound
	}
	return nil, nil
}

// counts tells what the fault proxies have carried.
func (s *server) counts(*http.Request) (any, error) { return s.Rules.Counts(), nil }

// clearCounts begins anew.
func (s *server) clearCounts(*http.Request) (any, error) {
	s.Rules.ClearCounts()
	return nil, nil
}

func (s *server) reset(r *http.Request) (any, error) { return nil, s.ToSeed(r.Context()) }

// ToSeed puts everything back to the seed. What the reset of the other parts leaves behind, such as the deletion of load
// balancers, is over before the account forgets.
func (c Config) ToSeed(ctx context.Context) error {
	c.Rules.Clear()
	if c.Reset != nil {
		if err := c.Reset(ctx); err != nil {
			return err
		}
	}
	c.GitHub.Reset()
	if err := errors.Join(registry.Wipe(c.Settings), c.Account.Reset()); err != nil || c.Reseeded == nil {
		return err
	}
	return c.Reseeded(ctx)
}
