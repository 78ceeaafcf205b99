package account

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Kind says what a token opens.
type Kind string

// The kinds of tokens.
const (
	KindAPI      Kind = "api"      // the DigitalOcean API, within Scopes
	KindCluster  Kind = "cluster"  // the API server of one cluster
	KindRegistry Kind = "registry" // the account's registries, through the token service
)

// AllScopes is the scope of a token that may do everything.
const AllScopes = "*"

// Token is a secret that opens something. On DigitalOcean the credentials of clusters and registries are personal
// access tokens too, in the same list.
type Token struct {
	Value     string    `json:"value"`
	Name      string    `json:"name"` // how the request log calls whoever shows it
	Kind      Kind      `json:"kind"`
	Scopes    []string  `json:"scopes,omitempty"`     // KindAPI: `kubernetes:read`, or AllScopes
	Cluster   string    `json:"cluster,omitempty"`    // KindCluster: the cluster's id
	Registry  string    `json:"registry,omitempty"`   // KindRegistry: the registry that it was asked for
	ReadWrite bool      `json:"read_write,omitempty"` // KindRegistry: may push and delete
	ExpiresAt time.Time `json:"expires_at,omitzero"`  // zero: never
	Revoked   bool      `json:"revoked,omitempty"`
}

// Why a token opens nothing.
var (
	ErrTokenUnknown = errors.New("no such token")
	ErrTokenRevoked = errors.New("the token was revoked")
	ErrTokenExpired = errors.New("the token has expired")
)

// Has says whether the token may do what needs this scope.
func (t Token) Has(scope string) bool {
	return slices.Contains(t.Scopes, AllScopes) || slices.Contains(t.Scopes, scope)
}

// Missing is which of the scopes the token lacks.
func (t Token) Missing(scopes []string) []string {
	var missing []string
	for _, scope := range scopes {
		if !t.Has(scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// Authenticate finds the token with this value. An unknown, revoked or expired one is an error.
func (a *Account) Authenticate(value string) (Token, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, token := range a.state.Tokens {
		if token.Value == value && value != "" {
			return token, a.validity(token)
		}
	}
	return Token{}, ErrTokenUnknown
}

// validity says why a token does not work, or nil. The lock is held.
func (a *Account) validity(token Token) error {
	switch {
	case token.Revoked:
		return ErrTokenRevoked
	case !token.ExpiresAt.IsZero() && !a.now().Before(token.ExpiresAt):
		return ErrTokenExpired
	}
	return nil
}

// MintAPIToken makes a token for the API. A lifetime of 0 is for ever.
func (a *Account) MintAPIToken(name string, scopes []string, lifetime time.Duration) (Token, error) {
	return a.mint(Token{Name: name, Kind: KindAPI, Scopes: scopes}, lifetime)
}

// MintClusterToken makes a credential for one cluster.
func (a *Account) MintClusterToken(cluster string, lifetime time.Duration) (Token, error) {
	return a.mint(Token{Kind: KindCluster, Cluster: cluster}, lifetime)
}

// MintRegistryToken makes a docker credential. A lifetime of 0 is for ever.
func (a *Account) MintRegistryToken(registry string, readWrite bool, lifetime time.Duration) (Token, error) {
	return a.mint(Token{Kind: KindRegistry, Registry: registry, ReadWrite: readWrite}, lifetime)
}

// mint gives a token its value, its name and its end, and keeps it.
func (a *Account) mint(token Token, lifetime time.Duration) (Token, error) {
	err := a.Change(func(s *State) error {
		token.Value = newTokenValue()
		if token.Name == "" {
			token.Name = fmt.Sprintf("%s-credential-%d", token.Kind, len(s.Tokens))
		}
		if lifetime > 0 {
			token.ExpiresAt = a.now().Add(lifetime)
		}
		s.Tokens = append(s.Tokens, token)
		return nil
	})
	return token, err
}

// Revoke ends a token at once. It may be named by its value or by its name; every match is revoked.
func (a *Account) Revoke(valueOrName string) error {
	return a.Change(func(s *State) error {
		found := false
		for i := range s.Tokens {
			if valueOrName == s.Tokens[i].Value || valueOrName == s.Tokens[i].Name {
				s.Tokens[i].Revoked, found = true, true
			}
		}
		if !found {
			return ErrTokenUnknown
		}
		return nil
	})
}

// Tokens lists all tokens ever made, with their values.
func (a *Account) Tokens() []Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Clone(a.state.Tokens)
}

// Rate is where a token stands with its limits.
type Rate struct {
	Limit      int           // requests an hour
	Remaining  int           // of those, how many are left
	Reset      time.Time     // when the oldest counted request is forgotten
	RetryAfter time.Duration // 0: the request is allowed
	Burst      bool          // refused by the limit a minute, not by that an hour
}

// Count counts a request of a token and says whether it is within the limits. Each request is forgotten an hour later.
func (a *Account) Count(value string) Rate {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, hour, minute := a.now(), a.state.Switches.RequestsPerHour, a.state.Switches.RequestsPerMinute
	recent := slices.DeleteFunc(a.calls[value], func(at time.Time) bool { return now.Sub(at) >= time.Hour })
	lastMinute := 0
	for _, at := range recent {
		if now.Sub(at) < time.Minute {
			lastMinute++
		}
	}
	rate := Rate{Limit: hour, Reset: now.Add(time.Hour)}
	if len(recent) > 0 {
		rate.Reset = recent[0].Add(time.Hour)
	}
	switch {
	case len(recent) >= hour:
		rate.RetryAfter = rate.Reset.Sub(now)
	case lastMinute >= minute:
		rate.RetryAfter, rate.Burst = time.Minute, true
		if lastMinute > 0 {
			rate.RetryAfter = recent[len(recent)-lastMinute].Add(time.Minute).Sub(now)
		}
	default:
		recent = append(recent, now)
	}
	rate.Remaining = max(0, hour-len(recent))
	a.calls[value] = recent
	return rate
}

// integrationPrefix begins the names of the registry integration's credentials.
const integrationPrefix = "integration-"

// PullCredential gives user and password of a read-only docker credential that never expires, as the registry
// integration puts it into a cluster. It makes the credential at the first call and gives the same one afterwards, as
// long as it works.
func (a *Account) PullCredential(registry string) (user, password string, err error) {
	token, err := a.integration(Token{Name: integrationPrefix + registry, Kind: KindRegistry, Registry: registry})
	return token.Value, token.Value, err
}

// SystemToken gives a token for the API to a part of the sandbox, so that the request log tells its requests from those
// of a client: its name there is integration-PART. It is made and kept as PullCredential's is.
func (a *Account) SystemToken(part string) (Token, error) {
	return a.integration(Token{Name: integrationPrefix + part, Kind: KindAPI, Scopes: []string{AllScopes}})
}

// integration finds a token by its name, and mints the one that is given if none works.
func (a *Account) integration(wanted Token) (Token, error) {
	a.mu.Lock()
	at := slices.IndexFunc(a.state.Tokens, func(t Token) bool { return t.Name == wanted.Name && a.validity(t) == nil })
	if at >= 0 {
		defer a.mu.Unlock()
		return a.state.Tokens[at], nil
	}
	a.mu.Unlock()
	return a.mint(wanted, 0)
}

// DockerConfig is a Docker configuration file that holds this credential for registry.digitalocean.com.
func DockerConfig(token Token) []byte {
	auth := base64.StdEncoding.EncodeToString([]byte(token.Value + ":" + token.Value))
	return fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, settings.RegistryHost, auth)
}
