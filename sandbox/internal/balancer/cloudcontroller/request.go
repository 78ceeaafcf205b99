package cloudcontroller

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/digitalocean/godo"
	v1 "k8s.io/api/core/v1"
)

// kubeProxyHealthPort answers 200 on /healthz as long as the node's kube-proxy is well.
const kubeProxyHealthPort = 10256

// place is where a cluster's load balancers are made.
type place struct{ region, vpc, cluster string }

// buildRequest is the whole desired load balancer of a Service, for creation and update alike.
func buildRequest(service *v1.Service, droplets []int, at place) (*godo.LoadBalancerRequest, error) {
	request := &godo.LoadBalancerRequest{
		Region: at.region, VPCUUID: at.vpc, Tags: []string{"k8s:" + at.cluster}, DropletIDs: droplets,
	}
	for _, fill := range []func(*v1.Service, *godo.LoadBalancerRequest) error{
		fillName, fillType, fillSize, fillNetwork, fillRules, fillHealthCheck, fillSticky, fillFlags, fillFirewall,
	} {
		if err := fill(service, request); err != nil {
			return nil, err
		}
	}
	return request, nil
}

// validName is what DigitalOcean accepts as the name of a load balancer.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)

// fillName sets the name, which must be one that DigitalOcean accepts.
func fillName(service *v1.Service, request *godo.LoadBalancerRequest) error {
	name := loadBalancerName(service)
	if len(name) > 255 || !validName.MatchString(name) || strings.HasSuffix(name, "-") {
		return fmt.Errorf("annotation %s is %q: give at most 255 letters, digits, dots and dashes, "+
			"beginning with a letter or digit and not ending with a dash", annotationName, name)
	}
	request.Name = name
	return nil
}

// loadBalancerName is the name that the Service asks for, else defaultName.
func loadBalancerName(service *v1.Service) string {
	return text(service, annotationName, defaultName(service))
}

// defaultName is `a` and the Service's UID, cut to 32 characters: what every cloud provider of Kubernetes makes.
func defaultName(service *v1.Service) string {
	name := "a" + strings.ReplaceAll(string(service.UID), "-", "")
	return name[:min(len(name), 32)]
}

// fillType sets the type: DigitalOcean's own default has been the network load balancer since DOKS 1.33.
func fillType(service *v1.Service, request *godo.LoadBalancerRequest) (err error) {
	request.Type, err = oneOf(service, annotationType, godo.LoadBalancerTypeRegionalNetwork, godo.LoadBalancerTypeRegional)
	return err
}

// fillSize sets the number of nodes of a regional load balancer. A network load balancer has none.
func fillSize(service *v1.Service, request *godo.LoadBalancerRequest) error {
	unit, slug := service.Annotations[annotationSizeUnit], service.Annotations[annotationSizeSlug]
	switch {
	case unit != "" && slug != "":
		return errors.New("only one of LB size slug and size unit can be provided")
	case slug != "":
		request.SizeSlug = slug
		return nil
	case request.Type == godo.LoadBalancerTypeRegionalNetwork:
		return nil
	}
	size := uint64(1)
	if unit != "" {
		var err error
		if size, err = strconv.ParseUint(unit, 10, 32); err != nil || size == 0 {
			return fmt.Errorf("invalid LB size unit %q provided: give a whole number from 1", unit)
		}
	}
	request.SizeUnit = uint32(size)
	return nil
}

// fillNetwork sets whether the address is public, and its families; each type has its own default for those.
func fillNetwork(service *v1.Service, request *godo.LoadBalancerRequest) (err error) {
	if request.Network, err = oneOf(service, annotationNetwork,
		godo.LoadBalancerNetworkTypeExternal, godo.LoadBalancerNetworkTypeInternal); err != nil {
		return err
	}
	stacks := []string{godo.LoadBalancerNetworkStackDualstack, godo.LoadBalancerNetworkStackIPv4}
	if request.Type == godo.LoadBalancerTypeRegionalNetwork || request.Network == godo.LoadBalancerNetworkTypeInternal {
		stacks[0], stacks[1] = stacks[1], stacks[0]
	}
	request.NetworkStack, err = oneOf(service, annotationNetworkStack, stacks...)
	return err
}

// fillRules sets the algorithm and the forwarding rules.
func fillRules(service *v1.Service, request *godo.LoadBalancerRequest) (err error) {
	if request.Algorithm, err = oneOf(service, annotationAlgorithm, "round_robin", "least_connections"); err != nil {
		return err
	}
	request.ForwardingRules, err = forwardingRules(service, request.Type)
	return err
}

// fillSticky sets the sessions; by cookies they need a name and a lifetime.
func fillSticky(service *v1.Service, request *godo.LoadBalancerRequest) error {
	kind, err := oneOf(service, annotationStickyType, "none", "cookies")
	if err != nil {
		return err
	}
	request.StickySessions = &godo.StickySessions{Type: kind}
	if kind == "none" {
		return nil
	}
	name := service.Annotations[annotationStickyCookieName]
	ttl, err := number(service, annotationStickyCookieTTL, 0, 1, 34650)
	if err != nil {
		return err
	}
	if name == "" || ttl == 0 {
		return fmt.Errorf("sticky sessions by cookies need the annotations %s and %s", annotationStickyCookieName, annotationStickyCookieTTL)
	}
	request.StickySessions.CookieName, request.StickySessions.CookieTtlSeconds = name, ttl
	return nil
}

// fillFlags sets what is true or false, and the idle timeout.
func fillFlags(service *v1.Service, request *godo.LoadBalancerRequest) error {
	letsEncrypt := false
	for _, entry := range []struct {
		name   string
		target *bool
	}{
		{annotationRedirectToHTTPS, &request.RedirectHttpToHttps},
		{annotationProxyProtocol, &request.EnableProxyProtocol},
		{annotationBackendKeepalive, &request.EnableBackendKeepalive},
		{annotationDisableLetsEncrypt, &letsEncrypt},
	} {
		value, err := flag(service, entry.name)
		if err != nil {
			return err
		}
		*entry.target = value
	}
	request.DisableLetsEncryptDNSRecords = &letsEncrypt
	timeout, err := number(service, annotationHTTPIdleTimeout, 0, 30, 600)
	if err == nil && timeout != 0 {
		seconds := uint64(timeout)
		request.HTTPIdleTimeoutSeconds = &seconds
	}
	return err
}

// fillFirewall takes the allowed sources from the Service's own field, else from the annotation.
func fillFirewall(service *v1.Service, request *godo.LoadBalancerRequest) error {
	firewall := &godo.LBFirewall{Deny: list(service, annotationDenyRules), Allow: list(service, annotationAllowRules)}
	if ranges := service.Spec.LoadBalancerSourceRanges; len(ranges) > 0 {
		firewall.Allow = nil
		for _, source := range ranges {
			firewall.Allow = append(firewall.Allow, godo.CIDRSourceFirewall(source))
		}
	}
	request.Firewall = firewall
	return nil
}
