// Package cloudcontroller gives each Service of type LoadBalancer a DigitalOcean load balancer.
//
// The controller is Kubernetes' own (k8s.io/cloud-provider), the client is godo; what is written here is the plug-in
// between them. It behaves as DigitalOcean's cloud-controller-manager does towards both sides: the same names, tags,
// annotations, requests, events and retries. Only the API's address is another one.
package cloudcontroller

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/digitalocean/godo"
	"golang.org/x/oauth2"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/cloud-provider/controllers/service"
	"k8s.io/component-base/metrics/prometheus/controllers"

	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
)

// DigitalOceanRetry is how long DigitalOcean's controller waits before it looks again at a load balancer in the making.
const DigitalOceanRetry = 15 * time.Second

// workers is how many Services are reconciled at once, as in DigitalOcean's controller.
const workers = 1

// userAgent is how the controller presents itself to both APIs.
const userAgent = "digitalocean-cloud-controller-manager"

// Config says which cluster and which account belong together.
type Config struct {
	Kubeconfig string // file with the credentials for the cluster
	APIURL     string // DigitalOcean API, without /v2
	Token      string // of the account
	ClusterID  string // DigitalOcean's id of the cluster: becomes the tag k8s:ID
	Region     string // slug of the cluster's region
	VPCID      string // the cluster's network
	Log        *slog.Logger

	// Retry says how soon a load balancer in the making is looked at again; nil: after DigitalOceanRetry.
	Retry func() time.Duration
}

// Run reconciles Services until ctx ends. It calls ready once Services and nodes are known.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	client, err := kube.New(config.Kubeconfig, userAgent)
	if err != nil {
		return err
	}
	balancers, err := newLoadBalancers(config, client)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := service.New(cloud{balancers}, client, factory.Core().V1().Services(), factory.Core().V1().Nodes(), config.ClusterID, nil)
	if err != nil {
		return fmt.Errorf("make the service controller: %w", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	ready("service controller of cluster " + config.ClusterID)
	controller.Run(ctx, workers, controllers.NewControllerManagerMetrics("cloud-controller-manager"))
	factory.Shutdown()
	return nil
}

// newLoadBalancers joins the two clients.
func newLoadBalancers(config Config, client kubernetes.Interface) (*loadBalancers, error) {
	source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: config.Token})
	digitalOcean, err := godo.New(oauth2.NewClient(context.Background(), source), godo.SetBaseURL(config.APIURL), godo.SetUserAgent(userAgent))
	if err != nil {
		return nil, fmt.Errorf("make a client for the DigitalOcean API at %s: %w", config.APIURL, err)
	}
	retry := config.Retry
	if retry == nil {
		retry = func() time.Duration { return DigitalOceanRetry }
	}
	return &loadBalancers{
		api: digitalOcean, kube: client, retry: retry, log: config.Log,
		at: place{region: config.Region, vpc: config.VPCID, cluster: config.ClusterID},
	}, nil
}
