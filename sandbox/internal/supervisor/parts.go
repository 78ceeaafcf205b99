package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/seaway-deploy/seaway/sandbox/internal/balancer/cloudcontroller"
	"github.com/seaway-deploy/seaway/sandbox/internal/balancer/dataplane"
	"github.com/seaway-deploy/seaway/sandbox/internal/buildkit"
	"github.com/seaway-deploy/seaway/sandbox/internal/cluster"
	"github.com/seaway-deploy/seaway/sandbox/internal/control"
	"github.com/seaway-deploy/seaway/sandbox/internal/digitalocean"
	"github.com/seaway-deploy/seaway/sandbox/internal/enclosure"
	"github.com/seaway-deploy/seaway/sandbox/internal/engine"
	"github.com/seaway-deploy/seaway/sandbox/internal/faults"
	"github.com/seaway-deploy/seaway/sandbox/internal/github"
	"github.com/seaway-deploy/seaway/sandbox/internal/hub"
	"github.com/seaway-deploy/seaway/sandbox/internal/ingress"
	"github.com/seaway-deploy/seaway/sandbox/internal/kwok"
	"github.com/seaway-deploy/seaway/sandbox/internal/metrics"
	"github.com/seaway-deploy/seaway/sandbox/internal/pullsecrets"
	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
	"github.com/seaway-deploy/seaway/sandbox/internal/volumes"
)

// start is a part's Run with everything but its log filled in.
type start func(ctx context.Context, log *slog.Logger, ready func(detail string)) error

// parts is the whole sandbox, in the order in which it is told. Those in the cluster wait for it; the rest starts at once.
func (s *sandbox) parts() []Part {
	parts := []Part{
		s.part("cluster", s.runCluster),
		s.part("api", s.runAPI),
		s.part("registry", s.runRegistry),
		s.part("hub", s.runHub, "registry"),
		s.part("github", s.runGitHub),
		s.part("faults", s.runFaults),
		s.part("control", s.runControl),
		s.engine(engine.Debian),
		s.part("buildkit", s.runBuildkit),
		s.part("volumes", s.runVolumes, "cluster"),
		s.part("pull-secrets", s.runPullSecrets, "cluster"),
		s.part("cloud-controller", s.runCloudController, "cluster", "api"),
		s.part("load-balancers", s.runLoadBalancers, "cluster"),
		s.part("ingress", s.runIngress, "cluster"),
		s.part("metrics", s.runMetrics, "cluster"),
		extra(s.part("kwok", s.runKWOK, "cluster")),
		extra(s.engine(engine.Engine29)),
		extra(s.engine(engine.Layers29)),
	}
	// The seeded state is what the cluster holds when every other part is ready.
	last := s.part("baseline", s.runBaseline, "cluster")
	last.With = "cluster"
	for _, part := range parts {
		last.After = append(last.After, part.Name)
	}
	return append(parts, last)
}

// extra makes a part one that runs only when it is asked for.
func extra(part Part) Part {
	part.Extra = true
	return part
}

func (s *sandbox) part(name string, run start, needs ...string) Part {
	return Part{Name: name, Needs: needs, Run: func(ctx context.Context, ready func(string)) error {
		log, err := s.logger(name)
		if err != nil {
			return err
		}
		return run(ctx, log, ready)
	}}
}

// ofRoot are the parts that make namespaces, mounts or firewall rules. Those that need one of them are so too.
var ofRoot = []string{"cluster", engine.Debian.Name, engine.Engine29.Name, engine.Layers29.Name, "buildkit", "hub"}

// Check says what the machine lacks for the named parts, before anything is started.
func Check(names []string) error {
	chosen, err := Choose((&sandbox{}).parts(), names)
	if err != nil {
		return err
	}
	for _, part := range chosen {
		if os.Geteuid() != 0 && slices.Contains(ofRoot, part.Name) {
			return errors.Join(fmt.Errorf("the part %q needs root", part.Name),
				errors.New("without root there are: sandbox up --parts api,registry,github,faults,control"))
		}
		if part.Name == "cluster" {
			if err := cluster.CheckMachine(); err != nil {
				return err
			}
		}
	}
	return nil
}

// PartNames lists the parts.
func PartNames() []string {
	var names []string
	for _, part := range (&sandbox{}).parts() {
		names = append(names, part.Name)
	}
	return names
}

func (s *sandbox) runCluster(ctx context.Context, log *slog.Logger, ready func(string)) error {
	return cluster.Run(ctx, cluster.Config{
		Settings: s.settings, Log: log, Binary: program(s.settings, "sandbox"), Started: s.started,
	}, ready)
}

func (s *sandbox) runAPI(ctx context.Context, log *slog.Logger, ready func(string)) error {
	return digitalocean.Run(ctx, digitalocean.Config{
		Settings: s.settings, Account: s.account, Listen: s.listeners.Listen, Log: log,
	}, ready)
}

func (s *sandbox) runRegistry(ctx context.Context, log *slog.Logger, ready func(string)) error {
	return registry.Run(ctx, registry.Config{
		Settings: s.settings, Account: s.account, Listen: s.listeners.Listen, Log: log,
	}, ready)
}

// engine is a Docker Engine of this kind.
func (s *sandbox) engine(kind engine.Kind) Part {
	return s.part(kind.Name, func(ctx context.Context, log *slog.Logger, ready func(string)) error {
		box, err := s.enclosed(func() (*enclosure.Enclosure, error) { return kind.Open(s.settings) })
		if err != nil {
			return err
		}
		return kind.Run(ctx, engine.Config{Settings: s.settings, Log: log, Enclosure: box}, ready)
	})
}

func (s *sandbox) runBuildkit(ctx context.Context, log *slog.Logger, ready func(string)) error {
	binary := program(s.settings, "buildkitd")
	box, err := s.enclosed(func() (*enclosure.Enclosure, error) { return buildkit.Open(s.settings, binary) })
	if err != nil {
		return err
	}
	return buildkit.Run(ctx, buildkit.Config{Settings: s.settings, Log: log, Program: binary, Enclosure: box}, ready)
}

func (s *sandbox) runGitHub(ctx context.Context, log *slog.Logger, ready func(string)) error {
	return github.Run(ctx, github.Config{Settings: s.settings, Server: s.github, Listen: s.listeners.Listen, Log: log}, ready)
}

func (s *sandbox) runFaults(ctx context.Context, log *slog.Logger, ready func(string)) error {
	return faults.Run(ctx, faults.Config{Settings: s.settings, Rules: s.rules, Listen: s.listeners.Listen, Log: log}, ready)
}

func (s *sandbox) runControl(ctx context.Context, log *slog.Logger, ready func(string)) error {
	config := s.control()
	config.Log = log
	return control.Run(ctx, config, ready)
}

// runHub fills the stand-in for Docker Hub. Only the sandbox may push there.
func (s *sandbox) runHub(ctx context.Context, log *slog.Logger, ready func(string)) error {
	password, err := registry.HubPassword(s.settings)
	if err != nil {
		return err
	}
	return hub.Run(ctx, hub.Config{
		Settings: s.settings, Log: log, Registry: s.settings.HostPort(settings.PortHub),
		Push: &authn.Basic{Username: registry.HubUser, Password: password},
	}, ready)
}

func (s *sandbox) runVolumes(ctx context.Context, log *slog.Logger, ready func(string)) error {
	return volumes.Run(ctx, volumes.Config{
		Kubeconfig: s.settings.AdminKubeconfig(), Folder: s.settings.Path("volumes"), Node: settings.NodeName,
		ClusterID: settings.ClusterID, Region: settings.Region, Account: s.account, Log: log,
	}, ready)
}

func (s *sandbox) runPullSecrets(ctx context.Context, log *slog.Logger, ready func(string)) error {
	return pullsecrets.Run(ctx, pullsecrets.Config{
		Kubeconfig: s.settings.AdminKubeconfig(), ClusterID: settings.ClusterID, Account: s.account, Log: log,
	}, ready)
}

func (s *sandbox) runCloudController(ctx context.Context, log *slog.Logger, ready func(string)) error {
	token, err := s.account.SystemToken("cloud-controller") // a name of its own in the request log
	if err != nil {
		return err
	}
	return cloudcontroller.Run(ctx, cloudcontroller.Config{
		Kubeconfig: s.settings.AdminKubeconfig(), APIURL: s.settings.URL(settings.PortDigitalOcean), Token: token.Value,
		ClusterID: settings.ClusterID, Region: settings.Region, VPCID: settings.VPCID, Log: log,
		Retry: func() time.Duration { return s.account.Switches().BalancerRetry.Duration() },
	}, ready)
}

func (s *sandbox) runLoadBalancers(ctx context.Context, log *slog.Logger, ready func(string)) error {
	return dataplane.Run(ctx, dataplane.Config{Account: s.account, Dial: s.dialNode, Log: log}, ready)
}

func (s *sandbox) runIngress(ctx context.Context, _ *slog.Logger, ready func(string)) error {
	return ingress.Run(ctx, ingress.Config{
		Kubeconfig: s.settings.AdminKubeconfig(), Contour: program(s.settings, "contour"),
		Envoy: program(s.settings, "envoy"), Definitions: program(s.settings, "definitions.yaml"),
	}, ready)
}

func (s *sandbox) runMetrics(ctx context.Context, log *slog.Logger, ready func(string)) error {
	return metrics.Run(ctx, metrics.Config{Settings: s.settings, Log: log, Listen: s.listenNode}, ready)
}

func (s *sandbox) runKWOK(ctx context.Context, log *slog.Logger, ready func(string)) error {
	s.mu.Lock()
	node := s.node
	s.mu.Unlock()
	return kwok.Run(ctx, kwok.Config{
		Program: program(s.settings, "kwok"), Stages: program(s.settings, "stages.yaml"), Node: node, Log: log,
	}, ready)
}
