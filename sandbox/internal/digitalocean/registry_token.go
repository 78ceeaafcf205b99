package digitalocean

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/pki"
	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
)

// grant is one entry of a token's access list:
// https://distribution.github.io/distribution/spec/auth/jwt/
type grant struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// claims is the content of a registry token.
type claims struct {
	registry.Claims
	Issuer    string  `json:"iss"`
	Audience  string  `json:"aud"`
	Expiry    int64   `json:"exp"`
	NotBefore int64   `json:"nbf"`
	IssuedAt  int64   `json:"iat"`
	Access    []grant `json:"access"`
}

// signer signs registry tokens with a certificate of the sandbox's authority, which the registries trust.
type signer struct{ jose.Signer }

// newSigner makes a signer with a new key. The chain goes into each token: old registries know no other way.
func newSigner(authority *pki.Authority) (*signer, error) {
	pair, err := issue(authority, pki.Leaf{Name: "registry token service"})
	if err != nil {
		return nil, err
	}
	options := new(jose.SignerOptions).WithType("JWT").WithHeader("x5c", chain(pair))
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: pair.PrivateKey.(crypto.Signer)}, options)
	return &signer{made}, err
}

// chain is the certificate as the header x5c holds it: base64 of DER, which is how JSON writes bytes.
func chain(pair tls.Certificate) [][]byte { return pair.Certificate }

// sign makes the text of a token.
func (s *signer) sign(c claims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed, err := s.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// refusal is why no token is given, in the words of registries: Docker shows `denied: MESSAGE`.
type refusal struct {
	status  int
	code    string
	message string
}

// Error is the message for the log.
func (r *refusal) Error() string { return r.message }

// registryToken is the token service. It answers GET only; clients that try OAuth2's POST first are told so by a 405.
func (s *server) registryToken(w http.ResponseWriter, r *http.Request) {
	record := account.Request{Service: "token", Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
	token, answer, err := s.grantRegistryToken(r)
	record.Principal = token.Name
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		record.Note = refused.message
		answer = reply{refused.status, map[string]any{"errors": []any{map[string]any{"code": refused.code, "message": refused.message}}}}
		if s.account.Switches().RegistryBareRefusals {
			answer.body = nil
		}
		if refused.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="`+registry.Service+`"`)
		}
		if refused.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodGet)
		}
	case err != nil:
		s.log.Error("the token service failed", "cause", err)
		answer, record.Note = reply{http.StatusInternalServerError, &errorBody{ID: errServer.id, Message: errServer.message}}, err.Error()
	}
	w.Header().Set("Cache-Control", "no-store")
	write(w, answer)
	record.Status = answer.status
	s.account.Record(record)
}

// grantRegistryToken checks who asks for what, and makes the token.
func (s *server) grantRegistryToken(r *http.Request) (account.Token, reply, error) {
	if r.Method != http.MethodGet {
		return account.Token{}, reply{}, &refusal{http.StatusMethodNotAllowed, "UNSUPPORTED", "the token service answers GET only"}
	}
	_, password, given := r.BasicAuth()
	if !given {
		return account.Token{}, reply{}, &refusal{http.StatusUnauthorized, "UNAUTHORIZED", "authentication required"}
	}
	token, err := s.account.Authenticate(password)
	if err != nil || token.Kind == account.KindCluster {
		return token, reply{}, &refusal{http.StatusUnauthorized, "UNAUTHORIZED", "authentication required"}
	}
	access, err := s.access(r, token)
	if err != nil {
		return token, reply{}, err
	}
	answer, err := s.registryTokenAnswer(token, access)
	return token, answer, err
}

// access reads the scopes that are asked for; each must be allowed as a whole.
func (s *server) access(r *http.Request, token account.Token) ([]grant, error) {
	access := []grant{}
	for _, parameter := range r.URL.Query()["scope"] {
		for scope := range strings.FieldsSeq(parameter) {
			granted, err := s.allow(r, token, scope)
			if err != nil {
				return nil, err
			}
			access = append(access, granted)
		}
	}
	return access, nil
}

// allow decides one scope: TYPE:NAME:ACTIONS.
func (s *server) allow(r *http.Request, token account.Token, scope string) (grant, error) {
	kind, rest, _ := strings.Cut(scope, ":")
	colon := strings.LastIndex(rest, ":")
	if colon < 0 {
		return grant{}, &refusal{http.StatusBadRequest, "NAME_INVALID", fmt.Sprintf("invalid scope %q", scope)}
	}
	name, actions := rest[:colon], strings.Split(rest[colon+1:], ",")
	if kind == "registry" && name == "catalog" {
		return grant{kind, name, actions}, nil
	}
	owner, repository, found := strings.Cut(name, "/")
	if kind != "repository" || !found || repository == "" || !slices.Contains(s.registryNames(), owner) {
		return grant{}, &refusal{http.StatusBadRequest, "NAME_INVALID", fmt.Sprintf("scope %q is not of a repository in your registries", scope)}
	}
	if !slices.Equal(actions, []string{"pull"}) {
		if err := s.allowPush(r, token, name); err != nil {
			return grant{}, err
		}
	}
	if token.Kind == account.KindAPI && !token.Has("registry:read") {
		return grant{}, &refusal{http.StatusForbidden, "DENIED", "the token lacks the scope registry:read"}
	}
	return grant{kind, name, actions}, nil
}

// errCollecting is the answer to a push while garbage is collected.
var errCollecting = &refusal{http.StatusUnauthorized, "UNAUTHORIZED", "registry is read-only: garbage collection is in progress"}

// allowPush decides about pushing and deleting.
func (s *server) allowPush(r *http.Request, token account.Token, name string) error {
	if token.Kind == account.KindRegistry && !token.ReadWrite || token.Kind == account.KindAPI && !token.Has("registry:update") {
		return errDenied
	}
	if s.account.Switches().RegistryReadOnly {
		return errCollecting
	}
	owner, _, _ := strings.Cut(name, "/")
	if active, err := s.activeGarbage(r.Context(), owner); active != nil || err != nil {
		return orElse(err, errCollecting)
	}
	return s.withinPlan(r.Context(), owner, name)
}

// errDenied is how a registry says no without saying why; the words are distribution's. Those that DigitalOcean has for a
// full storage or a login that may only pull are not published.
var errDenied = &refusal{http.StatusForbidden, "DENIED", "requested access to the resource is denied"}

// withinPlan refuses what the account's plan has no room for: one more repository, or any push once the storage is full
// and cannot grow for money: https://docs.digitalocean.com/products/container-registry/details/limits/
func (s *server) withinPlan(ctx context.Context, owner, name string) error {
	plan := s.subscription().Tier
	if limit := int(plan.IncludedRepositories); limit != 0 {
		repositories, err := s.content.Repositories(ctx)
		if err != nil {
			return err
		}
		if len(repositories) >= limit && !slices.Contains(repositories, name) {
			return &refusal{http.StatusForbidden, "DENIED", fmt.Sprintf("registry contains %d repositories, limit is %d", len(repositories), limit)}
		}
	}
	if plan.AllowStorageOverage {
		return nil
	}
	used, err := s.content.Usage(ctx, owner)
	if err == nil && used >= int64(plan.IncludedStorageBytes) {
		return errDenied
	}
	return err
}

// registryTokenAnswer makes a token. Its real expiry is by the account's clock; what the registry itself sees is by the
// machine's, which may be another.
func (s *server) registryTokenAnswer(token account.Token, access []grant) (reply, error) {
	lifetime, now := s.account.Switches().RegistryTokenLifetime.Duration(), time.Now()
	signed, err := s.signer.sign(claims{
		Claims: registry.Claims{ID: account.NewID(), Subject: token.Name, Expires: s.account.Now().Add(lifetime).UnixNano()},
		Issuer: registry.Issuer, Audience: registry.Service, Access: access,
		IssuedAt: now.Unix(), NotBefore: now.Add(-time.Minute).Unix(), Expiry: now.Add(max(lifetime, time.Second)).Unix(),
	})
	if err != nil {
		return reply{}, err
	}
	return ok(map[string]any{
		"token": signed, "access_token": signed, "expires_in": int(lifetime.Seconds()), "issued_at": now.UTC().Format(time.RFC3339),
	})
}

// revoke ends a token early, as `doctl registry logout` asks for: the bearer and the form name the same token.
func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	status, value := http.StatusOK, r.PostFormValue("token")
	if value == "" || value != bearer(r) {
		status = http.StatusUnauthorized
	} else if err := s.account.Revoke(value); err != nil {
		status = http.StatusUnauthorized
	}
	s.account.Record(account.Request{Service: "digitalocean", Method: r.Method, Path: r.URL.Path, Status: status})
	w.WriteHeader(status)
}
