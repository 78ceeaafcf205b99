package account

import (
	"strconv"
	"time"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Versions of Kubernetes that the account offers, newest first. The seeded cluster runs SeededVersion for real; the
// others are there to be chosen from.
const SeededVersion = "1.34.4-do.0"

var versions = []string{"1.35.1-do.0", SeededVersion, "1.33.8-do.0"}

// seed is a new account: one running cluster of one node, integrated with one registry, and no load balancer.
func seed(s settings.Settings, now time.Time) State {
	sizes := seedSizes()
	return State{
		Account: godo.Account{
			DropletLimit: 25, FloatingIPLimit: 3, ReservedIPLimit: 3, VolumeLimit: 100,
			Email: "sandbox@example.com", Name: "Sandbox", UUID: "5ea00000-0000-4000-8000-00000000acc0",
			EmailVerified: true, Status: "active",
			Team: &godo.TeamInfo{Name: "Sandbox", UUID: "5ea00000-0000-4000-8000-00000000acc1"},
		},
		Regions:      seedRegions(),
		Sizes:        sizes,
		Options:      seedOptions(sizes),
		Clusters:     []godo.KubernetesCluster{seedCluster(s, now)},
		Registries:   []godo.Registry{seedRegistry(now)},
		Tiers:        seedTiers(),
		Subscription: seedSubscription(now),
		Droplets:     []godo.Droplet{seedDroplet(sizes, now)},
		Volumes:      []godo.Volume{},
		VPCs:         []godo.VPC{seedVPC(now)},
		Tags: []Tag{{Name: "k8s", Resources: seedTagged()}, {Name: "k8s:" + settings.ClusterID, Resources: seedTagged()},
			{Name: "k8s:worker", Resources: seedTagged()}},
		Firewalls: []godo.Firewall{},
		Balancers: []Balancer{},
		Tokens:    []Token{{Value: settings.Token, Name: "sandbox", Kind: KindAPI, Scopes: []string{AllScopes}}},
		Switches:  defaultSwitches(),
	}
}

// regionNames are DigitalOcean's data centres.
var regionNames = []struct{ slug, name string }{
	{"nyc1", "New York 1"}, {"nyc3", "New York 3"}, {"ams3", "Amsterdam 3"}, {"sfo2", "San Francisco 2"},
	{"sfo3", "San Francisco 3"}, {"sgp1", "Singapore 1"}, {"lon1", "London 1"}, {"fra1", "Frankfurt 1"},
	{"tor1", "Toronto 1"}, {"blr1", "Bangalore 1"}, {"syd1", "Sydney 1"},
}

// regionSlugs lists their short names.
func regionSlugs() []string {
	slugs := make([]string, len(regionNames))
	for i, region := range regionNames {
		slugs[i] = region.slug
	}
	return slugs
}

// seedRegions are the regions, all with all sizes.
func seedRegions() []godo.Region {
	var sizes []string
	for _, size := range seedSizes() {
		sizes = append(sizes, size.Slug)
	}
	regions := make([]godo.Region, len(regionNames))
	for i, region := range regionNames {
		regions[i] = godo.Region{
			Slug: region.slug, Name: region.name, Available: true, Sizes: sizes,
			Features: []string{"backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"},
		}
	}
	return regions
}

// seedSizes are Droplet sizes with the prices of September 2026: https://www.digitalocean.com/pricing/droplets
func seedSizes() []godo.Size {
	size := func(slug, description string, memory, cpus, disk int, transfer, monthly, hourly float64) godo.Size {
		return godo.Size{
			Slug: slug, Description: description, Memory: memory, Vcpus: cpus, Disk: disk, Transfer: transfer,
			PriceMonthly: monthly, PriceHourly: hourly, Regions: regionSlugs(), Available: true,
		}
	}
	return []godo.Size{
		size("s-1vcpu-1gb", "Basic", 1024, 1, 25, 1, 6, 0.00893),
		size("s-1vcpu-2gb", "Basic", 2048, 1, 50, 2, 12, 0.01786),
		size("s-2vcpu-2gb", "Basic", 2048, 2, 60, 3, 18, 0.02679),
		size("s-2vcpu-4gb", "Basic", 4096, 2, 80, 4, 24, 0.03571),
		size("s-4vcpu-8gb", "Basic", 8192, 4, 160, 5, 48, 0.07143),
		size("s-8vcpu-16gb", "Basic", 16384, 8, 320, 6, 96, 0.14286),
		size("c-2", "CPU-Optimized", 4096, 2, 25, 4, 42, 0.0625),
		size("g-2vcpu-8gb", "General Purpose", 8192, 2, 25, 4, 63, 0.09375),
	}
}

// seedOptions is what clusters can be made of: not the smallest size.
func seedOptions(sizes []godo.Size) godo.KubernetesOptions {
	options := godo.KubernetesOptions{}
	for _, version := range versions {
		options.Versions = append(options.Versions, &godo.KubernetesVersion{
			Slug: version, KubernetesVersion: version[:len(version)-len("-do.0")],
			SupportedFeatures: []string{"cluster-autoscaler", "docr-integration", "ha-control-plane", "token-authentication"},
		})
	}
	for _, region := range regionNames {
		options.Regions = append(options.Regions, &godo.KubernetesRegion{Slug: region.slug, Name: region.name})
	}
	for _, size := range sizes[1:] {
		options.Sizes = append(options.Sizes, &godo.KubernetesNodeSize{Slug: size.Slug, Name: size.Slug})
	}
	return options
}

// seedCluster is the cluster that really runs.
func seedCluster(s settings.Settings, now time.Time) godo.KubernetesCluster {
	node := &godo.KubernetesNode{
		ID: "5ea00000-0000-4000-8000-000000001001", Name: settings.NodeName, DropletID: strconv.Itoa(settings.DropletID),
		Status: &godo.KubernetesNodeStatus{State: "running"}, CreatedAt: now, UpdatedAt: now,
	}
	return godo.KubernetesCluster{
		ID: settings.ClusterID, Name: settings.ClusterName, RegionSlug: settings.Region, VersionSlug: SeededVersion,
		ClusterSubnet: settings.PodCIDR, ServiceSubnet: settings.ServiceCIDR, VPCUUID: settings.VPCID,
		IPv4: s.Address(), Endpoint: "https://" + s.HostPort(settings.PortKubernetes),
		Tags: []string{"k8s", "k8s:" + settings.ClusterID},
		NodePools: []*godo.KubernetesNodePool{{
			ID: "5ea00000-0000-4000-8000-000000000b00", Name: "workers", Size: "s-4vcpu-8gb", Count: 1,
			Tags:  []string{"k8s", "k8s:" + settings.ClusterID, "k8s:worker"},
			Nodes: []*godo.KubernetesNode{node},
		}},
		MaintenancePolicy: &godo.KubernetesMaintenancePolicy{StartTime: "15:00", Duration: "4h0m0s"},
		RegistryEnabled:   true,
		Status:            &godo.KubernetesClusterStatus{State: godo.KubernetesClusterStatusRunning},
		CreatedAt:         now, UpdatedAt: now,
	}
}

// seedRegistry is the registry that the cluster pulls from.
func seedRegistry(now time.Time) godo.Registry {
	return godo.Registry{
		UUID: "5ea00000-0000-4000-8000-0000000000d0", Name: settings.RegistryName, Region: "nyc3",
		CreatedAt: now, StorageUsageBytesUpdatedAt: now,
	}
}

// seedTiers are the plans of the registry: https://docs.digitalocean.com/products/container-registry/details/pricing/
func seedTiers() []godo.RegistrySubscriptionTier {
	const gib = 1 << 30
	return []godo.RegistrySubscriptionTier{
		{Name: "Starter", Slug: "starter", IncludedRepositories: 1, IncludedStorageBytes: gib / 2, IncludedBandwidthBytes: gib / 2,
			Eligible: false, EligibilityReasons: []string{"OverRepositoryLimit"}},
		{Name: "Basic", Slug: "basic", IncludedRepositories: 5, IncludedStorageBytes: 5 * gib, AllowStorageOverage: true,
			IncludedBandwidthBytes: 5 * gib, MonthlyPriceInCents: 500, Eligible: true},
		{Name: "Professional", Slug: "professional", IncludedStorageBytes: 100 * gib, AllowStorageOverage: true,
			IncludedBandwidthBytes: 100 * gib, MonthlyPriceInCents: 2000, Eligible: true},
	}
}

// seedSubscription is the plan without a limit of repositories.
func seedSubscription(now time.Time) godo.RegistrySubscription {
	tiers := seedTiers()
	return godo.RegistrySubscription{Tier: &tiers[2], CreatedAt: now, UpdatedAt: now}
}

// seedDroplet is the machine under the cluster's node.
func seedDroplet(sizes []godo.Size, now time.Time) godo.Droplet {
	size := sizes[4]
	return godo.Droplet{
		ID: settings.DropletID, Name: settings.NodeName, Memory: size.Memory, Vcpus: size.Vcpus, Disk: size.Disk,
		Region: &godo.Region{Slug: settings.Region, Name: "New York 1", Available: true, Features: []string{"metadata"}, Sizes: []string{size.Slug}},
		Image: &godo.Image{ID: 1, Name: "Kubernetes node", Type: "snapshot", Distribution: "Debian", Regions: []string{settings.Region},
			Created: now.Format(time.RFC3339), MinDiskSize: 25, SizeGigaBytes: 2.5, Status: "available"},
		Size: &size, SizeSlug: size.Slug, Status: "active", Created: now.Format(time.RFC3339),
		BackupIDs: []int{}, SnapshotIDs: []int{}, VolumeIDs: []string{}, Features: []string{"private_networking"},
		Tags:    []string{"k8s", "k8s:" + settings.ClusterID, "k8s:worker"},
		VPCUUID: settings.VPCID,
		Networks: &godo.Networks{
			V4: []godo.NetworkV4{
				{IPAddress: settings.NodeIP, Netmask: "255.255.255.0", Gateway: "10.66.0.1", Type: "private"},
				// An address of RFC 5737: a node has a public one on DigitalOcean, this one leads nowhere.
				{IPAddress: "203.0.113.2", Netmask: "255.255.255.0", Gateway: "203.0.113.1", Type: "public"},
			},
			V6: []godo.NetworkV6{},
		},
	}
}

// seedVPC is the network of the region.
func seedVPC(now time.Time) godo.VPC {
	return godo.VPC{
		ID: settings.VPCID, URN: "do:vpc:" + settings.VPCID, Name: "default-" + settings.Region, IPRange: "10.66.0.0/24",
		RegionSlug: settings.Region, CreatedAt: now, Default: true,
	}
}

// seedTagged is what the cluster's tags are on.
func seedTagged() []godo.Resource {
	return []godo.Resource{{ID: strconv.Itoa(settings.DropletID), Type: godo.DropletResourceType}}
}
