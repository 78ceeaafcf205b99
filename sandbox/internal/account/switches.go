package account

import "time"

// Switches make the account slow, small or broken, for tests. The control API reads and writes them as JSON.
type Switches struct {
	// BalancerDelay is how long a new load balancer stays `new`.
	BalancerDelay Seconds `json:"balancer_delay_seconds"`
	// BalancerErrored lets every load balancer that is made from now on end as `errored`.
	BalancerErrored bool `json:"balancer_errored"`
	// BalancerRetry is how soon the cluster's cloud controller looks again at a load balancer in the making. It is 15 s
	// at DigitalOcean.
	BalancerRetry Seconds `json:"balancer_retry_seconds"`
	// BalancerQuota is how many load balancers the account may have.
	BalancerQuota int `json:"balancer_quota"`
	// PullSecretDelay is how long the registry integration takes to notice a new namespace.
	PullSecretDelay Seconds `json:"pull_secret_delay_seconds"`
	// RegistryTokenLifetime is how long a token of the registry's token service works.
	RegistryTokenLifetime Seconds `json:"registry_token_lifetime_seconds"`
	// GarbageCollection is how long the registry's garbage collection runs; until then nothing can be pushed.
	GarbageCollection Seconds `json:"garbage_collection_seconds"`
	// GarbageCollectionCancel is how long a garbage collection stays `cancelling`.
	GarbageCollectionCancel Seconds `json:"garbage_collection_cancel_seconds"`
	// GarbageCollectionStuck is the status in which those that are started from now on stay until they are cancelled:
	// https://github.com/digitalocean/doctl/issues/1464. "" is none.
	GarbageCollectionStuck string `json:"garbage_collection_stuck"`
	// GarbageCollectionFails lets those that are started from now on end as `failed`.
	GarbageCollectionFails bool `json:"garbage_collection_fails"`
	// RegistryReadOnly refuses push tokens, as DigitalOcean does while it collects garbage.
	RegistryReadOnly bool `json:"registry_read_only"`
	// RegistryBareRefusals takes the bodies from the token service's refusals: all that many clients show is the status.
	RegistryBareRefusals bool `json:"registry_bare_refusals"`
	// RequestsPerHour and RequestsPerMinute limit each token.
	RequestsPerHour   int `json:"requests_per_hour"`
	RequestsPerMinute int `json:"requests_per_minute"`
	// ServerErrors is how many of the next API requests are answered with 500.
	ServerErrors int `json:"server_errors"`
}

// Seconds is a duration that is written as a number of seconds.
type Seconds float64

// Duration is the same as time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// defaultSwitches is how the account behaves when nobody asks for anything else. The limits are DigitalOcean's:
// https://docs.digitalocean.com/reference/api/api-reference/#section/Introduction/Rate-Limit
func defaultSwitches() Switches {
	return Switches{
		BalancerDelay:         3,
		BalancerRetry:         2,
		BalancerQuota:         20,
		PullSecretDelay:       1,
		RegistryTokenLifetime: 15 * 60,
		GarbageCollection:     5,
		RequestsPerHour:       5000,
		RequestsPerMinute:     250,

		GarbageCollectionCancel: 1,
	}
}

// Switches gives the present ones.
func (a *Account) Switches() Switches {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.Switches
}

// Switch changes some of them.
func (a *Account) Switch(change func(*Switches) error) error {
	return a.Change(func(s *State) error {
		changed := s.Switches
		if err := change(&changed); err != nil {
			return err
		}
		s.Switches = changed
		return nil
	})
}

// TakeServerError says whether this request is to fail, and counts it.
func (a *Account) TakeServerError() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Switches.ServerErrors <= 0 {
		return false
	}
	a.state.Switches.ServerErrors--
	return true
}
