package digitalocean

// scopes is what a token needs.
func scopes(names ...string) []string { return names }

// routes is everything that the API answers, but for the token service and what is internal to the sandbox.
var routes = []route{
	{"GET /v2/account", scopes("account:read"), (*server).getAccount},
	{"GET /v2/regions", scopes("regions:read"), (*server).listRegions},
	{"GET /v2/sizes", scopes("sizes:read", "regions:read"), (*server).listSizes},

	{"GET /v2/kubernetes/options", scopes("kubernetes:read"), (*server).kubernetesOptions},
	{"GET /v2/kubernetes/clusters", scopes("kubernetes:read"), (*server).listClusters},
	{"POST /v2/kubernetes/clusters", scopes("kubernetes:create"), (*server).createCluster},
	{"GET /v2/kubernetes/clusters/{id}", scopes("kubernetes:read"), (*server).getCluster},
	{"GET /v2/kubernetes/clusters/{id}/credentials", scopes("kubernetes:access_cluster"), (*server).clusterCredentials},
	{"GET /v2/kubernetes/clusters/{id}/kubeconfig", scopes("kubernetes:access_cluster"), (*server).clusterKubeconfig},
	{"GET /v2/kubernetes/clusters/{id}/user", scopes("kubernetes:read"), (*server).clusterUser},
	{"GET /v2/kubernetes/clusters/{id}/node_pools", scopes("kubernetes:read"), (*server).listNodePools},
	{"GET /v2/kubernetes/clusters/{id}/node_pools/{pool}", scopes("kubernetes:read"), (*server).getNodePool},
	{"GET /v2/kubernetes/clusters/{id}/destroy_with_associated_resources", scopes("kubernetes:read"), (*server).associatedResources},
	{"POST /v2/kubernetes/registry", scopes("kubernetes:create", "kubernetes:update"), (*server).addRegistry},
	{"DELETE /v2/kubernetes/registry", scopes("kubernetes:update"), (*server).removeRegistry},
	{"POST /v2/kubernetes/registries", scopes("kubernetes:create", "kubernetes:update"), (*server).addRegistry},
	{"DELETE /v2/kubernetes/registries", scopes("kubernetes:update"), (*server).removeRegistry},

	{"GET /v2/registries", scopes("registry:read"), (*server).listRegistries},
	{"POST /v2/registries", scopes("registry:create"), (*server).createRegistry},
	{"GET /v2/registries/options", scopes("registry:read"), (*server).registryOptions},
	{"GET /v2/registries/subscription", scopes("registry:read"), (*server).getSubscription},
	{"POST /v2/registries/subscription", scopes("registry:update"), (*server).changeSubscription},
	{"POST /v2/registries/validate-name", scopes("registry:create"), (*server).validateRegistryName},
	{"GET /v2/registries/{registry}", scopes("registry:read"), (*server).getRegistry},
	{"DELETE /v2/registries/{registry}", scopes("registry:delete"), (*server).deleteRegistry},
	{"GET /v2/registries/{registry}/docker-credentials", scopes("registry:read", "registry:update"), (*server).dockerCredentials},
	{"POST /v2/registries/{registry}/garbage-collection", scopes("registry:update"), (*server).startGarbageCollection},
	{"GET /v2/registries/{registry}/garbage-collection", scopes("registry:read"), (*server).getGarbageCollection},
	{"GET /v2/registries/{registry}/garbage-collections", scopes("registry:read"), (*server).listGarbageCollections},
	{"PUT /v2/registries/{registry}/garbage-collection/{uuid}", scopes("registry:update"), (*server).cancelGarbageCollection},
	{"GET /v2/registries/{registry}/repositoriesV2", scopes("registry:read"), (*server).listRepositories},
	{"DELETE /v2/registries/{registry}/repositories/{repository}", scopes("registry:delete"), (*server).deleteRepository},
	{"GET /v2/registries/{registry}/repositories/{repository}/tags", scopes("registry:read"), (*server).listTagsOfRepository},
	{"DELETE /v2/registries/{registry}/repositories/{repository}/tags/{tag}", scopes("registry:delete"), (*server).deleteTagOfRepository},
	{"GET /v2/registries/{registry}/repositories/{repository}/digests", scopes("registry:read"), (*server).listDigests},
	{"DELETE /v2/registries/{registry}/repositories/{repository}/digests/{digest}", scopes("registry:delete"), (*server).deleteDigest},

	{"GET /v2/registry", scopes("registry:read"), single((*server).getRegistryWithSubscription)},
	{"POST /v2/registry", scopes("registry:create"), (*server).createSingleRegistry},
	{"DELETE /v2/registry", scopes("registry:delete"), single((*server).deleteRegistry)},
	{"GET /v2/registry/options", scopes("registry:read"), (*server).registryOptions},
	{"GET /v2/registry/subscription", scopes("registry:read"), (*server).getSubscription},
	{"POST /v2/registry/subscription", scopes("registry:update"), (*server).changeSubscription},
	{"POST /v2/registry/validate-name", scopes("registry:create"), (*server).validateRegistryName},
	{"GET /v2/registry/docker-credentials", scopes("registry:read", "registry:update"), single((*server).dockerCredentials)},
	{"POST /v2/registry/{registry}/garbage-collection", scopes("registry:update"), (*server).startGarbageCollection},
	{"GET /v2/registry/{registry}/garbage-collection", scopes("registry:read"), (*server).getGarbageCollection},
	{"GET /v2/registry/{registry}/garbage-collections", scopes("registry:read"), (*server).listGarbageCollections},
	{"PUT /v2/registry/{registry}/garbage-collection/{uuid}", scopes("registry:update"), (*server).cancelGarbageCollection},
	{"GET /v2/registry/{registry}/repositoriesV2", scopes("registry:read"), (*server).listRepositories},
	{"GET /v2/registry/{registry}/repositories/{repository}/tags", scopes("registry:read"), (*server).listTagsOfRepository},
	{"DELETE /v2/registry/{registry}/repositories/{repository}/tags/{tag}", scopes("registry:delete"), (*server).deleteTagOfRepository},
	{"GET /v2/registry/{registry}/repositories/{repository}/digests", scopes("registry:read"), (*server).listDigests},
	{"DELETE /v2/registry/{registry}/repositories/{repository}/digests/{digest}", scopes("registry:delete"), (*server).deleteDigest},

	{"GET /v2/load_balancers", scopes("load_balancer:read"), (*server).listBalancers},
	{"POST /v2/load_balancers", scopes("load_balancer:create"), (*server).createBalancer},
	{"GET /v2/load_balancers/{id}", scopes("load_balancer:read"), (*server).getBalancer},
	{"PUT /v2/load_balancers/{id}", scopes("load_balancer:update"), (*server).updateBalancer},
	{"DELETE /v2/load_balancers/{id}", scopes("load_balancer:delete"), (*server).deleteBalancer},

	{"GET /v2/droplets", scopes("droplet:read"), (*server).listDroplets},
	{"GET /v2/droplets/{id}", scopes("droplet:read"), (*server).getDroplet},

	{"GET /v2/tags", scopes("tag:read"), (*server).listTags},
	{"POST /v2/tags", scopes("tag:create"), (*server).createTag},
	{"GET /v2/tags/{tag}", scopes("tag:read"), (*server).getTag},
	{"DELETE /v2/tags/{tag}", scopes("tag:delete"), (*server).deleteTag},
	{"POST /v2/tags/{tag}/resources", scopes("tag:create"), (*server).tagResources},
	{"DELETE /v2/tags/{tag}/resources", scopes("tag:delete"), (*server).untagResources},

	{"GET /v2/vpcs", scopes("vpc:read"), (*server).listVPCs},
	{"GET /v2/vpcs/{id}", scopes("vpc:read"), (*server).getVPC},

	{"GET /v2/volumes", scopes("block_storage:read"), (*server).listVolumes},
	{"GET /v2/volumes/{id}", scopes("block_storage:read"), (*server).getVolume},

	{"GET /v2/firewalls", scopes("firewall:read"), (*server).listFirewalls},
	{"POST /v2/firewalls", scopes("firewall:create"), (*server).createFirewall},
	{"GET /v2/firewalls/{id}", scopes("firewall:read"), (*server).getFirewall},
	{"PUT /v2/firewalls/{id}", scopes("firewall:update"), (*server).updateFirewall},
	{"DELETE /v2/firewalls/{id}", scopes("firewall:delete"), (*server).deleteFirewall},
}

// notImplemented is what DigitalOcean answers and the sandbox does not. A more exact pattern above wins.
var notImplemented = []string{
	"/v2/1-clicks", "/v2/1-clicks/", "/v2/account/", "/v2/actions", "/v2/actions/", "/v2/apps", "/v2/apps/", "/v2/billing/",
	"/v2/cdn/", "/v2/certificates", "/v2/certificates/", "/v2/customers/", "/v2/databases", "/v2/databases/", "/v2/domains",
	"/v2/domains/", "/v2/droplets", "/v2/droplets/", "/v2/firewalls/", "/v2/floating_ips", "/v2/floating_ips/", "/v2/functions/",
	"/v2/images", "/v2/images/", "/v2/kubernetes/clusters/", "/v2/load_balancers/", "/v2/monitoring/", "/v2/nfs", "/v2/nfs/",
	"/v2/projects", "/v2/projects/", "/v2/registries/{registry}/", "/v2/registry/{registry}/", "/v2/reports/",
	"/v2/reserved_ips", "/v2/reserved_ips/", "/v2/snapshots", "/v2/snapshots/", "/v2/spaces/", "/v2/uptime/", "/v2/volumes",
	"/v2/volumes/", "/v2/vpcs", "/v2/vpcs/", "/v2/vpc_peerings", "/v2/vpc_peerings/",
}
