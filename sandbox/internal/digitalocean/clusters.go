package digitalocean

import (
	"net/http"
	"slices"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// clusterWire is godo.KubernetesCluster with what godo leaves out when it is empty or false.
type clusterWire struct {
	godo.KubernetesCluster
	Tags            []string   `json:"tags"`
	NodePools       []poolWire `json:"node_pools"`
	HA              bool       `json:"ha"`
	AutoUpgrade     bool       `json:"auto_upgrade"`
	SurgeUpgrade    bool       `json:"surge_upgrade"`
	RegistryEnabled bool       `json:"registry_enabled"`
	Registries      []string   `json:"registries"`
}

// poolWire is godo.KubernetesNodePool likewise; godo's taints have no names for the wire at all.
type poolWire struct {
	godo.KubernetesNodePool
	Count     int                    `json:"count"`
	Labels    map[string]string      `json:"labels"`
	Taints    []taintWire            `json:"taints"`
	AutoScale bool                   `json:"auto_scale"`
	MinNodes  int                    `json:"min_nodes"`
	MaxNodes  int                    `json:"max_nodes"`
	Nodes     []*godo.KubernetesNode `json:"nodes"`
}

// taintWire is a taint of the nodes of a pool.
type taintWire struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

// wirePool makes the answer for one pool.
func wirePool(pool *godo.KubernetesNodePool) poolWire {
	wire := poolWire{
		KubernetesNodePool: *pool, Count: pool.Count, Labels: pool.Labels, Taints: []taintWire{}, AutoScale: pool.AutoScale,
		MinNodes: pool.MinNodes, MaxNodes: pool.MaxNodes, Nodes: append([]*godo.KubernetesNode{}, pool.Nodes...),
	}
	for _, taint := range pool.Taints {
		wire.Taints = append(wire.Taints, taintWire(taint))
	}
	return wire
}

// wirePools makes the answers for several.
func wirePools(pools []*godo.KubernetesNodePool) []poolWire {
	wires := make([]poolWire, len(pools))
	for i, pool := range pools {
		wires[i] = wirePool(pool)
	}
	return wires
}

// wireCluster makes the answer for one cluster.
func (s *server) wireCluster(cluster godo.KubernetesCluster) clusterWire {
	wire := clusterWire{
		KubernetesCluster: cluster, Tags: append([]string{}, cluster.Tags...), NodePools: wirePools(cluster.NodePools),
		HA: cluster.HA, AutoUpgrade: cluster.AutoUpgrade, SurgeUpgrade: cluster.SurgeUpgrade,
		RegistryEnabled: cluster.RegistryEnabled, Registries: []string{},
	}
	if cluster.RegistryEnabled {
		wire.Registries = s.registryNames()
	}
	return wire
}

// clusters lists all clusters.
func (s *server) clusters() []godo.KubernetesCluster {
	return copyOf(s, func(state *account.State) []godo.KubernetesCluster { return state.Clusters })
}

// cluster finds the cluster of a call's path.
func (s *server) cluster(c *call) (godo.KubernetesCluster, error) {
	for _, cluster := range s.clusters() {
		if cluster.ID == c.path("id") {
			return cluster, nil
		}
	}
	return godo.KubernetesCluster{}, errNotFound
}

// listClusters lists clusters; there is no filter by name.
func (s *server) listClusters(c *call) (reply, error) {
	wires := []clusterWire{}
	for _, cluster := range s.clusters() {
		wires = append(wires, s.wireCluster(cluster))
	}
	return list(c, "kubernetes_clusters", wires)
}

// getCluster answers with one cluster.
func (s *server) getCluster(c *call) (reply, error) {
	cluster, err := s.cluster(c)
	if err != nil {
		return reply{}, err
	}
	return ok(root("kubernetes_cluster", s.wireCluster(cluster)))
}

// clusterUser tells who the credentials are.
func (s *server) clusterUser(c *call) (reply, error) {
	if _, err := s.cluster(c); err != nil {
		return reply{}, err
	}
	return ok(root("kubernetes_cluster_user", map[string]any{"username": userPrefix + c.token.Name, "groups": clusterGroups}))
}

// listNodePools lists the pools of a cluster.
func (s *server) listNodePools(c *call) (reply, error) {
	cluster, err := s.cluster(c)
	if err != nil {
		return reply{}, err
	}
	return list(c, "node_pools", wirePools(cluster.NodePools))
}

// getNodePool answers with one pool.
func (s *server) getNodePool(c *call) (reply, error) {
	cluster, err := s.cluster(c)
	if err != nil {
		return reply{}, err
	}
	for _, pool := range cluster.NodePools {
		if pool.ID == c.path("pool") {
			return ok(root("node_pool", wirePool(pool)))
		}
	}
	return reply{}, errNotFound
}

// kubernetesOptions tells what clusters can be made of.
func (s *server) kubernetesOptions(_ *call) (reply, error) {
	return ok(root("options", copyOf(s, func(state *account.State) godo.KubernetesOptions { return state.Options })))
}

// associatedResources lists what a deletion of the cluster would leave behind: it is found by the cluster's tag.
func (s *server) associatedResources(c *call) (reply, error) {
	cluster, err := s.cluster(c)
	if err != nil {
		return reply{}, err
	}
	tag := "k8s:" + cluster.ID
	found := godo.KubernetesAssociatedResources{
		Volumes: []*godo.AssociatedResource{}, VolumeSnapshots: []*godo.AssociatedResource{}, LoadBalancers: []*godo.AssociatedResource{},
	}
	s.account.View(func(state *account.State) {
		for _, balancer := range state.Balancers {
			if slices.Contains(balancer.Tags, tag) {
				found.LoadBalancers = append(found.LoadBalancers, &godo.AssociatedResource{ID: balancer.ID, Name: balancer.Name})
			}
		}
		for _, volume := range state.Volumes {
			if slices.Contains(volume.Tags, tag) {
				found.Volumes = append(found.Volumes, &godo.AssociatedResource{ID: volume.ID, Name: volume.Name})
			}
		}
	})
	return ok(found)
}

// clusterList is the body of the calls that attach registries to clusters and detach them.
type clusterList struct {
	ClusterUUIDs []string `json:"cluster_uuids"`
	Registries   []string `json:"registries"`
}

// addRegistry lets the integration put pull secrets into clusters.
func (s *server) addRegistry(c *call) (reply, error) { return s.setRegistry(c, true) }

// removeRegistry ends that.
func (s *server) removeRegistry(c *call) (reply, error) { return s.setRegistry(c, false) }

// setRegistry changes all of the named clusters, or none.
func (s *server) setRegistry(c *call, enabled bool) (reply, error) {
	var body clusterList
	if err := c.decode(&body); err != nil {
		return reply{}, err
	}
	if len(body.ClusterUUIDs) == 0 {
		return reply{}, unprocessable("cluster_uuids must name a cluster")
	}
	names := s.registryNames()
	for _, name := range body.Registries {
		if !slices.Contains(names, name) {
			return reply{}, errNotFound
		}
	}
	err := s.account.Change(func(state *account.State) error {
		chosen := []*godo.KubernetesCluster{}
		for _, id := range body.ClusterUUIDs {
			at := slices.IndexFunc(state.Clusters, func(cluster godo.KubernetesCluster) bool { return cluster.ID == id })
			if at < 0 {
				return errNotFound
			}
			chosen = append(chosen, &state.Clusters[at])
		}
		for _, cluster := range chosen {
			cluster.RegistryEnabled = enabled
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return gone()
}

// createCluster starts a real cluster, where the sandbox can.
func (s *server) createCluster(c *call) (reply, error) {
	var request godo.KubernetesClusterCreateRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	if err := s.checkClusterRequest(&request); err != nil {
		return reply{}, err
	}
	if s.creator == nil {
		return reply{}, &failure{http.StatusNotImplemented, "not_implemented", "the sandbox runs one cluster and cannot create another yet"}
	}
	cluster := newCluster(request, s.account)
	if err := s.account.Change(func(state *account.State) error {
		state.Clusters = append(state.Clusters, cluster)
		return nil
	}); err != nil {
		return reply{}, err
	}
	if err := s.creator(cluster); err != nil {
		return reply{}, err
	}
	return created(root("kubernetes_cluster", s.wireCluster(cluster)))
}

// checkClusterRequest refuses what DigitalOcean refuses, in its words where they are known.
func (s *server) checkClusterRequest(request *godo.KubernetesClusterCreateRequest) error {
	options := copyOf(s, func(state *account.State) godo.KubernetesOptions { return state.Options })
	switch {
	case request.Name == "":
		return unprocessable("validation error: name is required")
	case !slices.ContainsFunc(options.Regions, func(r *godo.KubernetesRegion) bool { return r.Slug == request.RegionSlug }):
		return unprocessable("validation error: invalid region slug")
	case !slices.ContainsFunc(options.Versions, func(v *godo.KubernetesVersion) bool { return v.Slug == request.VersionSlug }):
		return unprocessable("validation error: invalid version slug")
	case len(request.NodePools) == 0:
		return unprocessable("validation error: at least one worker node pool is required")
	}
	for i, pool := range request.NodePools {
		if !slices.ContainsFunc(options.Sizes, func(size *godo.KubernetesNodeSize) bool { return size.Slug == pool.Size }) {
			return unprocessable("validation error: worker_node_pool_specs[%d].invalid droplet size", i)
		}
	}
	return nil
}

// newCluster is a cluster at the moment of its creation.
func newCluster(request godo.KubernetesClusterCreateRequest, a *account.Account) godo.KubernetesCluster {
	id, now := account.NewID(), a.Now()
	cluster := godo.KubernetesCluster{
		ID: id, Name: request.Name, RegionSlug: request.RegionSlug, VersionSlug: request.VersionSlug, VPCUUID: request.VPCUUID,
		Tags: append([]string{"k8s", "k8s:" + id}, request.Tags...), AutoUpgrade: request.AutoUpgrade,
		SurgeUpgrade: request.SurgeUpgrade, MaintenancePolicy: request.MaintenancePolicy, CreatedAt: now, UpdatedAt: now,
		HA:     request.HA != nil && *request.HA,
		Status: &godo.KubernetesClusterStatus{State: godo.KubernetesClusterStatusProvisioning},
	}
	for _, pool := range request.NodePools {
		cluster.NodePools = append(cluster.NodePools, &godo.KubernetesNodePool{
			ID: account.NewID(), Name: pool.Name, Size: pool.Size, Count: pool.Count, Labels: pool.Labels, Taints: pool.Taints,
			Tags: append([]string{"k8s", "k8s:" + id, "k8s:worker"}, pool.Tags...), AutoScale: pool.AutoScale,
			MinNodes: pool.MinNodes, MaxNodes: pool.MaxNodes,
		})
	}
	return cluster
}
