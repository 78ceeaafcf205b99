package cloudcontroller

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/digitalocean/godo"
	v1 "k8s.io/api/core/v1"
)

// droplets are the ids of the machines behind the nodes: from the provider id, or, for a node without one, by its
// name. A node that is no Droplet (one of KWOK's) gets no traffic.
func (l *loadBalancers) droplets(ctx context.Context, nodes []*v1.Node) ([]int, error) {
	var ids []int
	var unnamed []*v1.Node
	for _, node := range nodes {
		if node.Spec.ProviderID == "" {
			unnamed = append(unnamed, node)
			continue
		}
		id, err := strconv.Atoi(strings.TrimPrefix(node.Spec.ProviderID, "digitalocean://"))
		if err != nil {
			l.log.Warn("node is not a Droplet", "node", node.Name, "provider id", node.Spec.ProviderID)
			continue
		}
		ids = append(ids, id)
	}
	if len(unnamed) == 0 {
		return ids, nil
	}
	known, err := pages(ctx, func(ctx context.Context, options *godo.ListOptions) ([]godo.Droplet, *godo.Response, error) {
		return l.api.Droplets.List(ctx, options)
	})
	if err != nil {
		return nil, fmt.Errorf("failed to list Droplets: %w", err)
	}
	return append(ids, named(unnamed, known)...), nil
}

// named are the ids of the Droplets that have the name of one of the nodes.
func named(nodes []*v1.Node, droplets []godo.Droplet) []int {
	byName := make(map[string]int, len(droplets))
	for _, droplet := range droplets {
		byName[droplet.Name] = droplet.ID
	}
	var ids []int
	for _, node := range nodes {
		if id, ok := byName[node.Name]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}
