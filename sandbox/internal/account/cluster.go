package account

import (
	"errors"

	"github.com/digitalocean/godo"
)

// ErrClusterUnknown is the answer for a cluster that is not there.
var ErrClusterUnknown = errors.New("no such cluster")

// UpdateCluster lets change alter a cluster, as its real counterpart comes up or goes away.
func (a *Account) UpdateCluster(id string, change func(*godo.KubernetesCluster)) error {
	return a.Change(func(s *State) error {
		for i := range s.Clusters {
			if s.Clusters[i].ID == id {
				change(&s.Clusters[i])
				s.Clusters[i].UpdatedAt = a.now()
				return nil
			}
		}
		return ErrClusterUnknown
	})
}

// RegistryEnabled says whether the registry integration is on for a cluster.
func (a *Account) RegistryEnabled(id string) bool {
	enabled := false
	a.View(func(s *State) {
		for _, cluster := range s.Clusters {
			enabled = enabled || cluster.ID == id && cluster.RegistryEnabled
		}
	})
	return enabled
}
