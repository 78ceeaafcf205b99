package account

import (
	"fmt"
	"slices"

	"github.com/digitalocean/godo"
)

// ChangePlan puts the account on a plan of the registry, without asking whether what it holds fits in. Limits that are
// given count instead of the plan's own: a test need not fill 500 MiB to see what a full registry does.
func (a *Account) ChangePlan(slug string, repositories, storageBytes *uint64) (godo.RegistrySubscriptionTier, error) {
	var plan godo.RegistrySubscriptionTier
	err := a.Change(func(s *State) error {
		at := slices.IndexFunc(s.Tiers, func(t godo.RegistrySubscriptionTier) bool { return t.Slug == slug })
		if at < 0 {
			return fmt.Errorf("there is no plan %q", slug)
		}
		plan = s.Tiers[at]
		if repositories != nil {
			plan.IncludedRepositories = *repositories
		}
		if storageBytes != nil {
			plan.IncludedStorageBytes = *storageBytes
		}
		chosen := plan
		s.Subscription.Tier, s.Subscription.UpdatedAt = &chosen, a.now()
		return nil
	})
	return plan, err
}
