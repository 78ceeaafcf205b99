// Package metrics serves the resource metrics API (metrics.k8s.io), so that HorizontalPodAutoscalers see CPU and memory
// and `kubectl top` answers.
//
// It does what metrics-server does, for one node: the numbers are the kubelet's own summary. It runs in the supervisor
// and listens inside the cluster's network; only the API server, known by its certificate, is answered.
package metrics

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"

	"github.com/seaway-deploy/seaway/sandbox/internal/kube"
	"github.com/seaway-deploy/seaway/sandbox/internal/pki"
	"github.com/seaway-deploy/seaway/sandbox/internal/serve"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

//go:embed manifests.yaml
var manifests string

const (
	agent = "sandbox-resource-metrics"
	// port is on the node's address, inside the cluster's network only.
	port = 10443
	// host is the name by which the API server calls the Service.
	host = "resource-metrics.kube-system.svc"
)

var apiServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

// Config says which cluster to serve.
type Config struct {
	Settings settings.Settings // whose certificate authority the API server trusts
	Log      *slog.Logger

	// Listen listens inside the cluster's network.
	Listen func(network, address string) (net.Listener, error)
}

// Run serves until ctx ends. It calls ready when the API server passes requests on.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	client, err := kube.New(config.Settings.AdminKubeconfig(), agent)
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(config.Settings.CACertificate())
	if err != nil {
		return err
	}
	listener, err := config.listen(authority)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Lister()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	defer factory.Shutdown() // returns when ctx has ended, so cancel comes first
	defer cancel()

	served := make(chan error, 1)
	handler := newHandler(&kubelet{client: client.CoreV1().RESTClient()}, pods)
	go func() { served <- serve.HTTP(ctx, []net.Listener{listener}, handler, config.Log) }()
	if err := register(ctx, client, authority); err != nil && ctx.Err() == nil {
		return err
	}
	ready("CPU and memory of nodes and pods")
	return <-served
}

// register leads the API group here and waits until the API server has found it to answer.
func register(ctx context.Context, client *kube.Client, authority []byte) error {
	filled := strings.NewReplacer(
		"{port}", strconv.Itoa(port), "{address}", settings.NodeIP, "{authority}", base64.StdEncoding.EncodeToString(authority),
	).Replace(manifests)
	if err := client.Apply(ctx, []byte(filled)); err != nil {
		return err
	}
	return client.Await(ctx, apiServices, "", "Available", "v1beta1.metrics.k8s.io")
}

// listen opens the port for callers that hold a certificate of the sandbox's authority.
func (c Config) listen(authority []byte) (net.Listener, error) {
	signer, err := pki.Load(c.Settings)
	if err != nil {
		return nil, err
	}
	certificate, key, err := signer.Issue(pki.Leaf{Name: host, Hosts: []string{host}})
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	callers := x509.NewCertPool()
	if !callers.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", c.Settings.CACertificate())
	}
	listener, err := c.Listen("tcp", net.JoinHostPort(settings.NodeIP, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen inside the cluster: %w", err)
	}
	return tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: callers,
		NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
	}), nil
}
