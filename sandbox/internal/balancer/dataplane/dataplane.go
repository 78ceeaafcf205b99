// Package dataplane carries the traffic of the account's load balancers.
//
// It follows the account: a load balancer that is active gets a listener on its loopback address for every forwarding
// rule, one that is changed or deleted loses it. Connections go on into the cluster's network namespace: to the port
// that the node opens (REGIONAL), or to the Service port on the load balancer's own address, which kube-proxy owns in
// there (REGIONAL_NETWORK). While the target is not healthy nothing listens, so that clients are refused as they
// would be by a load balancer without targets.
//
// TLS is passed through or not served at all, UDP is not carried: both are said in the log.
package dataplane

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Watcher tells which load balancers exist, now and after every change.
type Watcher interface {
	WatchBalancers(ctx context.Context) <-chan []account.Balancer
}

// Dial connects to an address inside the cluster's network namespace.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Config is what the data plane stands between.
type Config struct {
	Account Watcher
	Dial    Dial
	Log     *slog.Logger
}

// second is the unit of a health check's times.
const second = time.Second

// Run carries traffic until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	plane := &plane{config: config, second: second, fronts: map[route]context.CancelFunc{}}
	ready("follows the account's load balancers")
	for balancers := range config.Account.WatchBalancers(ctx) {
		plane.follow(ctx, balancers)
	}
	plane.running.Wait()
	return nil
}

// route is all that decides how one entry port behaves. Two equal routes are the same listener.
type route struct {
	balancer string // id
	entry    string // address:port on the machine
	target   string // address:port in the cluster's network namespace
	node     string // address of the node whose health is asked
	check    godo.HealthCheck
	proxy    bool // the target wants the PROXY protocol
}

// plane is the set of listeners that the account's load balancers call for.
type plane struct {
	config  Config
	second  time.Duration
	fronts  map[route]context.CancelFunc
	running sync.WaitGroup
}

// follow starts and stops listeners until they are those of the balancers. A listener is gone when follow returns, so
// that its port is free for the next one.
func (p *plane) follow(ctx context.Context, balancers []account.Balancer) {
	wanted := map[route]bool{}
	for _, balancer := range balancers {
		for _, route := range p.routes(balancer.LoadBalancer) {
			wanted[route] = true
		}
	}
	for route, stop := range p.fronts {
		if !wanted[route] {
			stop()
			delete(p.fronts, route)
		}
	}
	for route := range wanted {
		if p.fronts[route] == nil {
			p.fronts[route] = p.start(ctx, route)
		}
	}
}

// start begins to serve a route. The function it returns ends that, and returns when the port is free.
func (p *plane) start(ctx context.Context, route route) context.CancelFunc {
	ctx, cancel := context.WithCancel(ctx)
	front := &front{
		route: route, dial: p.config.Dial, second: p.second,
		log: p.config.Log.With("load balancer", route.balancer, "entry", route.entry, "target", route.target),
	}
	done := make(chan struct{})
	p.running.Go(func() {
		defer close(done)
		front.run(ctx)
	})
	return func() { cancel(); <-done }
}

// routes are the entry ports that a load balancer serves: none before it is active, none without a Droplet.
func (p *plane) routes(balancer godo.LoadBalancer) []route {
	if balancer.Status != account.BalancerActive || len(balancer.DropletIDs) == 0 {
		return nil
	}
	host := settings.NodeIP
	if balancer.Type == godo.LoadBalancerTypeRegionalNetwork {
		host = balancer.IP
	}
	var routes []route
	for _, rule := range balancer.ForwardingRules {
		if reason := unserved(rule); reason != "" {
			p.config.Log.Warn("forwarding rule not served: "+reason, "load balancer", balancer.ID, "entry port", rule.EntryPort)
			continue
		}
		routes = append(routes, route{
			balancer: balancer.ID,
			entry:    net.JoinHostPort(balancer.IP, fmt.Sprint(rule.EntryPort)),
			target:   net.JoinHostPort(host, fmt.Sprint(rule.TargetPort)),
			node:     settings.NodeIP,
			check:    checkOf(balancer),
			proxy:    balancer.EnableProxyProtocol && balancer.Type == godo.LoadBalancerTypeRegional,
		})
	}
	return routes
}

// unserved says why a rule is not carried, or nothing.
func unserved(rule godo.ForwardingRule) string {
	switch {
	case rule.EntryProtocol == "udp" || rule.EntryProtocol == "http3":
		return rule.EntryProtocol + " is not carried by the sandbox"
	case (rule.EntryProtocol == "https" || rule.EntryProtocol == "http2") && !rule.TlsPassthrough:
		return "the sandbox does not end TLS on a load balancer, use tls-passthrough"
	}
	return ""
}

// checkOf is the load balancer's health check with DigitalOcean's defaults, and nothing that a pointer would make
// different between two equal ones.
func checkOf(balancer godo.LoadBalancer) godo.HealthCheck {
	check := godo.HealthCheck{Protocol: "tcp"}
	if balancer.HealthCheck != nil {
		check = *balancer.HealthCheck
	}
	check.ProxyProtocol = nil
	for _, entry := range []struct {
		field     *int
		otherwise int
	}{
		{&check.CheckIntervalSeconds, 10}, {&check.ResponseTimeoutSeconds, 5},
		{&check.UnhealthyThreshold, 3}, {&check.HealthyThreshold, 5},
	} {
		if *entry.field == 0 {
			*entry.field = entry.otherwise
		}
	}
	return check
}
