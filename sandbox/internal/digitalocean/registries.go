package digitalocean

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// registryWire is godo.Registry with what godo leaves out when it is zero.
type registryWire struct {
	godo.Registry
	StorageUsageBytes uint64            `json:"storage_usage_bytes"`
	Subscription      *subscriptionWire `json:"subscription,omitempty"`
}

// subscriptionWire is godo.RegistrySubscription with the tier's zeroes.
type subscriptionWire struct {
	godo.RegistrySubscription
	Tier tierWire `json:"tier"`
}

// tierWire is godo.RegistrySubscriptionTier with what godo lacks.
type tierWire struct {
	godo.RegistrySubscriptionTier
	Eligible            bool   `json:"eligible"`
	StorageOveragePrice uint64 `json:"storage_overage_price_in_cents"`
}

// wireTier makes the answer for a plan. Storage above it costs 2 cents a GiB, where it is allowed.
func wireTier(tier godo.RegistrySubscriptionTier) tierWire {
	wire := tierWire{RegistrySubscriptionTier: tier, Eligible: tier.Eligible}
	if tier.AllowStorageOverage {
		wire.StorageOveragePrice = 2
	}
	return wire
}

// subscription is the plan of the account.
func (s *server) subscription() *subscriptionWire {
	found := copyOf(s, func(state *account.State) godo.RegistrySubscription { return state.Subscription })
	return &subscriptionWire{found, wireTier(*found.Tier)}
}

// registries lists the account's registries.
func (s *server) registries() []godo.Registry {
	return copyOf(s, func(state *account.State) []godo.Registry { return state.Registries })
}

// registryNames lists their names.
func (s *server) registryNames() []string {
	names := []string{}
	for _, registry := range s.registries() {
		names = append(names, registry.Name)
	}
	return names
}

// wireRegistry makes the answer for one registry. What it stores is read from the registry itself.
func (s *server) wireRegistry(c *call, registry godo.Registry) (registryWire, error) {
	used, err := s.content.Usage(c.request.Context(), registry.Name)
	registry.StorageUsageBytesUpdatedAt = s.account.Now()
	return registryWire{Registry: registry, StorageUsageBytes: uint64(max(0, used))}, err
}

// registry finds the registry of a call's path.
func (s *server) registry(c *call) (godo.Registry, error) {
	for _, registry := range s.registries() {
		if registry.Name == c.path("registry") {
			return registry, nil
		}
	}
	return godo.Registry{}, errNotFound
}

// single makes a handler of `/v2/registry`, which means the account's only registry, from one of
// `/v2/registries/{registry}`.
func single(next handler) handler {
	return func(s *server, c *call) (reply, error) {
		names := s.registryNames()
		switch len(names) {
		case 0:
			return reply{}, errNotFound
		case 1:
			c.request.SetPathValue("registry", names[0])
			return next(s, c)
		}
		return reply{}, &failure{http.StatusPreconditionFailed, "precondition_failed",
			"the team has several registries: use /v2/registries"}
	}
}

// listRegistries lists all registries on one page, as DigitalOcean does.
func (s *server) listRegistries(c *call) (reply, error) {
	wires, total := []registryWire{}, uint64(0)
	for _, registry := range s.registries() {
		wire, err := s.wireRegistry(c, registry)
		if err != nil {
			return reply{}, err
		}
		wires, total = append(wires, wire), total+wire.StorageUsageBytes
	}
	return ok(map[string]any{"registries": wires, "total_storage_usage_bytes": total})
}

// getRegistry answers with one registry.
func (s *server) getRegistry(c *call) (reply, error) {
	return s.answerRegistry(c, nil)
}

// getRegistryWithSubscription is what the single base answers.
func (s *server) getRegistryWithSubscription(c *call) (reply, error) {
	return s.answerRegistry(c, s.subscription())
}

// answerRegistry answers with the registry of the path.
func (s *server) answerRegistry(c *call, subscription *subscriptionWire) (reply, error) {
	registry, err := s.registry(c)
	if err != nil {
		return reply{}, err
	}
	wire, err := s.wireRegistry(c, registry)
	wire.Subscription = subscription
	if err != nil {
		return reply{}, err
	}
	return ok(root("registry", wire))
}

// registryName is what a registry may be called.
var registryName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// registryRequest is the body that creates a registry.
type registryRequest struct {
	Name   string `json:"name"`
	Tier   string `json:"subscription_tier_slug"`
	Region string `json:"region"`
}

// createSingleRegistry is createRegistry on the base for one registry, which wants a plan.
func (s *server) createSingleRegistry(c *call) (reply, error) {
	var request registryRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	if request.Tier == "" {
		return reply{}, unprocessable("missing required field: subscription_tier_slug")
	}
	return s.createRegistry(c)
}

// createRegistry adds a registry, as many as the plan allows.
func (s *server) createRegistry(c *call) (reply, error) {
	var request registryRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	registry := godo.Registry{UUID: account.NewID(), Name: request.Name, Region: request.Region, CreatedAt: s.account.Now()}
	if registry.Region == "" {
		registry.Region = registryRegions[0]
	}
	err := s.account.Change(func(state *account.State) error { return appendRegistry(state, registry, request.Tier) })
	if err != nil {
		return reply{}, err
	}
	wire, err := s.wireRegistry(c, registry)
	if err != nil {
		return reply{}, err
	}
	wire.Subscription = s.subscription()
	return created(root("registry", wire))
}

// appendRegistry checks a new registry and adds it; a tier changes the account's plan.
func appendRegistry(state *account.State, registry godo.Registry, tier string) error {
	chosen := state.Subscription.Tier
	if tier != "" {
		at := slices.IndexFunc(state.Tiers, func(t godo.RegistrySubscriptionTier) bool { return t.Slug == tier })
		if at < 0 {
			return unprocessable("invalid subscription tier %q", tier)
		}
		chosen = &state.Tiers[at]
	}
	limit := 1
	if chosen.Slug == "professional" {
		limit = 10
	}
	switch {
	case !registryName.MatchString(registry.Name):
		return unprocessable("registry name %q is invalid: lower-case letters, digits and dashes, at most 63, starting with a letter", registry.Name)
	case !slices.Contains(registryRegions, registry.Region):
		return unprocessable("invalid region %q", registry.Region)
	case slices.ContainsFunc(state.Registries, func(r godo.Registry) bool { return r.Name == registry.Name }):
		return &failure{http.StatusConflict, "conflict", "registry name is already taken"}
	case len(state.Registries) >= limit:
		return &failure{http.StatusPreconditionFailed, "precondition_failed", fmt.Sprintf("OverRegistryLimit: the plan %s allows %d", chosen.Slug, limit)}
	}
	state.Subscription.Tier = chosen
	state.Registries = append(state.Registries, registry)
	return nil
}

// deleteRegistry removes a registry from the account. Its images stay on disk until the sandbox is reset.
func (s *server) deleteRegistry(c *call) (reply, error) {
	err := s.account.Change(func(state *account.State) error {
		at := slices.IndexFunc(state.Registries, func(r godo.Registry) bool { return r.Name == c.path("registry") })
		if at < 0 {
			return errNotFound
		}
		state.Registries = slices.Delete(state.Registries, at, at+1)
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return gone()
}

// registryRegions are where registries can be.
var registryRegions = []string{"nyc3", "sfo3", "sfo2", "ams3", "sgp1", "fra1", "blr1", "syd1"}

// registryOptions tells what registries can be made of.
func (s *server) registryOptions(_ *call) (reply, error) {
	tiers := []tierWire{}
	for _, tier := range copyOf(s, func(state *account.State) []godo.RegistrySubscriptionTier { return state.Tiers }) {
		tiers = append(tiers, wireTier(tier))
	}
	return ok(root("options", map[string]any{"available_regions": registryRegions, "subscription_tiers": tiers}))
}

// getSubscription answers with the plan.
func (s *server) getSubscription(_ *call) (reply, error) {
	return ok(root("subscription", s.subscription()))
}

// changeSubscription changes the plan.
func (s *server) changeSubscription(c *call) (reply, error) {
	var request godo.RegistrySubscriptionUpdateRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	now := s.account.Now()
	err := s.account.Change(func(state *account.State) error {
		at := slices.IndexFunc(state.Tiers, func(t godo.RegistrySubscriptionTier) bool { return t.Slug == request.TierSlug })
		if at < 0 {
			return unprocessable("invalid subscription tier %q", request.TierSlug)
		}
		state.Subscription.Tier, state.Subscription.UpdatedAt = &state.Tiers[at], now
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return s.getSubscription(c)
}

// validateRegistryName says whether a name is free.
func (s *server) validateRegistryName(c *call) (reply, error) {
	var request godo.RegistryValidateNameRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	switch {
	case !registryName.MatchString(request.Name):
		return reply{}, unprocessable("registry name %q is invalid", request.Name)
	case slices.Contains(s.registryNames(), request.Name):
		return reply{}, &failure{http.StatusConflict, "conflict", "registry name is already taken"}
	}
	return gone()
}

// dockerCredentials mints a credential and answers with a Docker configuration that holds it. One that may push needs
// more scopes than reading: https://github.com/digitalocean/action-doctl/issues/83
func (s *server) dockerCredentials(c *call) (reply, error) {
	registry, err := s.registry(c)
	if err != nil {
		return reply{}, err
	}
	readWrite := c.query("read_write") == "true"
	if missing := c.token.Missing(scopes("registry:create")); readWrite && len(missing) > 0 {
		c.note = fmt.Sprintf("missing scopes: %v", missing)
		return reply{}, errForbidden
	}
	lifetime, err := c.seconds("expiry_seconds", time.Duration(0))
	if err != nil {
		return reply{}, err
	}
	token, err := s.account.MintRegistryToken(registry.Name, readWrite, lifetime)
	if err != nil {
		return reply{}, err
	}
	c.note = "minted " + token.Name
	return ok(text{"application/json", string(account.DockerConfig(token))})
}
