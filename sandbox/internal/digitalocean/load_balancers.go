package digitalocean

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// balancerWire is godo.LoadBalancer with what godo leaves out when it is empty or false.
type balancerWire struct {
	godo.LoadBalancer
	IP                     string               `json:"ip"`
	DropletIDs             []int                `json:"droplet_ids"`
	Tag                    string               `json:"tag"`
	ForwardingRules        []forwardingRuleWire `json:"forwarding_rules"`
	StickySessions         *godo.StickySessions `json:"sticky_sessions"`
	RedirectHTTPToHTTPS    bool                 `json:"redirect_http_to_https"`
	EnableProxyProtocol    bool                 `json:"enable_proxy_protocol"`
	EnableBackendKeepalive bool                 `json:"enable_backend_keepalive"`
}

// forwardingRuleWire is godo.ForwardingRule likewise.
type forwardingRuleWire struct {
	godo.ForwardingRule
	CertificateID  string `json:"certificate_id"`
	TLSPassthrough bool   `json:"tls_passthrough"`
}

// wireBalancer makes the answer for one load balancer.
func wireBalancer(b account.Balancer) balancerWire {
	wire := balancerWire{
		LoadBalancer: b.LoadBalancer, IP: b.IP, DropletIDs: append([]int{}, b.DropletIDs...), Tag: b.Tag,
		ForwardingRules: []forwardingRuleWire{}, StickySessions: b.StickySessions, RedirectHTTPToHTTPS: b.RedirectHttpToHttps,
		EnableProxyProtocol: b.EnableProxyProtocol, EnableBackendKeepalive: b.EnableBackendKeepalive,
	}
	for _, rule := range b.ForwardingRules {
		wire.ForwardingRules = append(wire.ForwardingRules, forwardingRuleWire{rule, rule.CertificateID, rule.TlsPassthrough})
	}
	return wire
}

// listBalancers lists load balancers. The account-wide list is how a cloud controller finds its own by name.
func (s *server) listBalancers(c *call) (reply, error) {
	names, ids := c.request.URL.Query()["names"], c.request.URL.Query()["uuids"]
	wires := []balancerWire{}
	for _, balancer := range s.account.Balancers() {
		chosen := (len(names) == 0 || slices.Contains(names, balancer.Name)) && (len(ids) == 0 || slices.Contains(ids, balancer.ID))
		if chosen {
			wires = append(wires, wireBalancer(balancer))
		}
	}
	return list(c, "load_balancers", wires)
}

// getBalancer answers with one load balancer.
func (s *server) getBalancer(c *call) (reply, error) {
	balancer, err := s.balancer(c)
	if err != nil {
		return reply{}, err
	}
	return ok(root("load_balancer", wireBalancer(balancer)))
}

// balancer finds the load balancer of a call's path.
func (s *server) balancer(c *call) (account.Balancer, error) {
	for _, balancer := range s.account.Balancers() {
		if balancer.ID == c.path("id") {
			return balancer, nil
		}
	}
	return account.Balancer{}, errNotFound
}

// createBalancer accepts a load balancer; it becomes active, or errored, a while later.
func (s *server) createBalancer(c *call) (reply, error) {
	var request godo.LoadBalancerRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	if err := s.checkBalancer(&request); err != nil {
		return reply{}, err
	}
	balancer := s.describeBalancer(godo.LoadBalancer{}, &request)
	for _, tag := range request.Tags {
		if err := s.account.Change(func(state *account.State) error { state.EnsureTag(tag); return nil }); err != nil {
			return reply{}, err
		}
	}
	made, err := s.account.CreateBalancer(balancer)
	if errors.Is(err, account.ErrBalancerQuota) {
		return reply{}, &failure{http.StatusForbidden, "forbidden", err.Error()}
	}
	if err != nil {
		return reply{}, err
	}
	return accepted(root("load_balancer", wireBalancer(made)))
}

// updateBalancer replaces the description of a load balancer; tags, region and type stay as they were made.
func (s *server) updateBalancer(c *call) (reply, error) {
	var request godo.LoadBalancerRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	before, err := s.balancer(c)
	if err != nil {
		return reply{}, err
	}
	request.Type = cmp.Or(request.Type, before.Type)
	if request.Type != before.Type {
		return reply{}, unprocessable("the type of a load balancer cannot be changed from %s to %s", before.Type, request.Type)
	}
	if err := checkBalancerShape(&request, knownRegion(before.Region.Slug)); err != nil {
		return reply{}, err
	}
	after := s.describeBalancer(before.LoadBalancer, &request)
	updated, err := s.account.UpdateBalancer(before.ID, func(b *godo.LoadBalancer) {
		after.Tags, after.Region = b.Tags, b.Region
		*b = after
	})
	if errors.Is(err, account.ErrBalancerUnknown) { // deleted meanwhile
		return reply{}, errNotFound
	}
	if err != nil {
		return reply{}, err
	}
	return ok(root("load_balancer", wireBalancer(updated)))
}

// deleteBalancer removes a load balancer.
func (s *server) deleteBalancer(c *call) (reply, error) {
	err := s.account.DeleteBalancer(c.path("id"))
	if errors.Is(err, account.ErrBalancerUnknown) {
		return reply{}, errNotFound
	}
	if err != nil {
		return reply{}, err
	}
	return gone()
}

// knownRegion gives a predicate that accepts the region itself, or none given.
func knownRegion(slug string) func(string) bool {
	return func(given string) bool { return given == "" || given == slug }
}

// checkBalancer refuses a new load balancer that DigitalOcean would refuse.
func (s *server) checkBalancer(request *godo.LoadBalancerRequest) error {
	regions := copyOf(s, func(state *account.State) []godo.Region { return state.Regions })
	known := func(slug string) bool {
		return slices.ContainsFunc(regions, func(r godo.Region) bool { return r.Slug == slug })
	}
	if err := checkBalancerShape(request, known); err != nil {
		return err
	}
	for _, balancer := range s.account.Balancers() {
		if balancer.Name == request.Name {
			return unprocessable("a load balancer named %s already exists", request.Name)
		}
	}
	return nil
}

// The values that the API knows.
var (
	balancerTypes     = []string{"", "REGIONAL", "REGIONAL_NETWORK", "GLOBAL"}
	balancerProtocols = []string{"http", "https", "http2", "http3", "tcp", "udp"}
)

// checkBalancerShape checks what can be said of the request alone.
func checkBalancerShape(request *godo.LoadBalancerRequest, region func(string) bool) error {
	switch {
	case request.Name == "":
		return unprocessable("Name can't be blank")
	case !region(request.Region):
		return unprocessable("Region %q is invalid", request.Region)
	case len(request.ForwardingRules) == 0:
		return unprocessable("Forwarding rules can't be blank")
	case !slices.Contains(balancerTypes, request.Type):
		return unprocessable("Type %q is invalid: one of%s", request.Type, strings.Join(balancerTypes, " "))
	}
	entries := map[int]bool{}
	for _, rule := range request.ForwardingRules {
		if !slices.Contains(balancerProtocols, rule.EntryProtocol) || !slices.Contains(balancerProtocols, rule.TargetProtocol) {
			return unprocessable("Forwarding rules: unknown protocol %q to %q", rule.EntryProtocol, rule.TargetProtocol)
		}
		if rule.EntryPort < 1 || rule.EntryPort > 65535 || rule.TargetPort < 1 || rule.TargetPort > 65535 {
			return unprocessable("Forwarding rules: ports are 1 to 65535, not %d to %d", rule.EntryPort, rule.TargetPort)
		}
		if entries[rule.EntryPort] && rule.EntryProtocol != "udp" {
			return unprocessable("Forwarding rules: entry port %d is given twice", rule.EntryPort)
		}
		entries[rule.EntryPort] = entries[rule.EntryPort] || rule.EntryProtocol != "udp"
	}
	return nil
}

// describeBalancer makes the description that a request asks for, with DigitalOcean's defaults.
func (s *server) describeBalancer(before godo.LoadBalancer, request *godo.LoadBalancerRequest) godo.LoadBalancer {
	b := godo.LoadBalancer{
		Name: request.Name, Type: cmp.Or(request.Type, "REGIONAL"), Algorithm: cmp.Or(request.Algorithm, "round_robin"), SizeUnit: request.SizeUnit,
		ForwardingRules: request.ForwardingRules, HealthCheck: request.HealthCheck, StickySessions: request.StickySessions,
		DropletIDs: request.DropletIDs, Tag: request.Tag, Tags: request.Tags, RedirectHttpToHttps: request.RedirectHttpToHttps,
		EnableProxyProtocol: request.EnableProxyProtocol, EnableBackendKeepalive: request.EnableBackendKeepalive,
		VPCUUID: cmp.Or(request.VPCUUID, cmp.Or(before.VPCUUID, s.defaultVPC())), ProjectID: request.ProjectID, Firewall: request.Firewall,
		HTTPIdleTimeoutSeconds: request.HTTPIdleTimeoutSeconds, DisableLetsEncryptDNSRecords: request.DisableLetsEncryptDNSRecords,
		Network: cmp.Or(request.Network, "EXTERNAL"), NetworkStack: cmp.Or(request.NetworkStack, "IPV4"), Domains: request.Domains,
		TLSCipherPolicy: cmp.Or(request.TLSCipherPolicy, "DEFAULT"), SizeSlug: request.SizeSlug,
	}
	if b.SizeUnit == 0 && b.SizeSlug == "" {
		b.SizeUnit = 1
	}
	if b.StickySessions == nil {
		b.StickySessions = &godo.StickySessions{Type: "none"}
	}
	if b.HealthCheck == nil {
		b.HealthCheck = &godo.HealthCheck{Protocol: "tcp", Port: request.ForwardingRules[0].TargetPort}
	}
	check := b.HealthCheck
	check.CheckIntervalSeconds, check.ResponseTimeoutSeconds = cmp.Or(check.CheckIntervalSeconds, 10), cmp.Or(check.ResponseTimeoutSeconds, 5)
	check.HealthyThreshold, check.UnhealthyThreshold = cmp.Or(check.HealthyThreshold, 5), cmp.Or(check.UnhealthyThreshold, 3)
	if b.HTTPIdleTimeoutSeconds == nil {
		sixty := uint64(60)
		b.HTTPIdleTimeoutSeconds = &sixty
	}
	b.Region = copyOf(s, func(state *account.State) *godo.Region {
		at := slices.IndexFunc(state.Regions, func(r godo.Region) bool { return r.Slug == request.Region })
		if at < 0 {
			return before.Region
		}
		return &state.Regions[at]
	})
	return b
}

// defaultVPC is the network of whoever does not choose one.
func (s *server) defaultVPC() string {
	return copyOf(s, func(state *account.State) string {
		if len(state.VPCs) == 0 {
			return ""
		}
		return state.VPCs[0].ID
	})
}
