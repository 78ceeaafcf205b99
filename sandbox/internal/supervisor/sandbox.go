package supervisor

import (
	"context"
	"log/slog"

	"github.com/seaway-deploy/seaway/sandbox/internal/cluster"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// sandbox is what the parts share.
type sandbox struct {
	settings  settings.Settings
	binary    string
	listeners *Listeners
	log       *slog.Logger
	node      cluster.Node // valid once the part "cluster" has started its namespaces
}

// PartNames lists the parts in the order in which they are told.
func PartNames() []string {
	var names []string
	for _, part := range (&sandbox{}).parts() {
		names = append(names, part.Name)
	}
	return names
}

// parts is the whole sandbox.
func (s *sandbox) parts() []Part {
	return []Part{
		{Name: "cluster", Run: s.runCluster},
	}
}

func (s *sandbox) runCluster(ctx context.Context, ready func(string)) error {
	return cluster.Run(ctx, cluster.Config{
		Settings: s.settings, Log: s.log.With("part", "cluster"), Binary: s.binary,
		Started: func(node cluster.Node) {
			s.node = node
			if err := s.listeners.Add(node.Network); err != nil {
				s.log.Error("listen inside the cluster", "cause", err)
			}
		},
	}, ready)
}
