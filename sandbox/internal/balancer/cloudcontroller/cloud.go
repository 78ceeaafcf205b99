package cloudcontroller

import (
	cloudprovider "k8s.io/cloud-provider"
)

// cloud is DigitalOcean as the stock controllers see it: load balancers and nothing else. The node of a sandbox
// names its Droplet itself, so the controllers that initialise and remove nodes have nothing to do.
type cloud struct{ balancers *loadBalancers }

// ProviderName is the scheme of provider ids: digitalocean://DROPLET.
func (cloud) ProviderName() string { return "digitalocean" }

// LoadBalancer is the part that exists.
func (c cloud) LoadBalancer() (cloudprovider.LoadBalancer, bool) { return c.balancers, true }

// Initialize has nothing to start.
func (cloud) Initialize(cloudprovider.ControllerClientBuilder, <-chan struct{}) {}

// Instances is not offered.
func (cloud) Instances() (cloudprovider.Instances, bool) { return nil, false }

// InstancesV2 is not offered.
func (cloud) InstancesV2() (cloudprovider.InstancesV2, bool) { return nil, false }

// Zones is not offered.
func (cloud) Zones() (cloudprovider.Zones, bool) { return nil, false }

// Clusters is not offered.
func (cloud) Clusters() (cloudprovider.Clusters, bool) { return nil, false }

// Routes is not offered.
func (cloud) Routes() (cloudprovider.Routes, bool) { return nil, false }

// HasClusterID is true: load balancers are tagged with it.
func (cloud) HasClusterID() bool { return true }
