package cloudcontroller

import (
	"errors"
	"fmt"

	"github.com/digitalocean/godo"
	v1 "k8s.io/api/core/v1"
)

// The protocols of a load balancer's entry port.
const (
	protocolTCP   = "tcp"
	protocolUDP   = "udp"
	protocolHTTP  = "http"
	protocolHTTPS = "https"
	protocolHTTP2 = "http2"
	protocolHTTP3 = "http3"
)

// forwardingRules makes a rule of every port of the Service, and one more for HTTP/3 where it is asked for.
//
// A regional load balancer sends to the port that every node opens for the Service; a network load balancer leaves the
// packets as they are, so its target is the Service port on the load balancer's own address.
func forwardingRules(service *v1.Service, kind string) ([]godo.ForwardingRule, error) {
	protocols, err := entryProtocols(service)
	if err != nil {
		return nil, err
	}
	encryption, err := encryptionOf(service)
	if err != nil {
		return nil, err
	}
	var rules []godo.ForwardingRule
	for _, port := range service.Spec.Ports {
		protocol := protocols(port)
		if kind == godo.LoadBalancerTypeRegionalNetwork {
			rules = append(rules, networkRule(port))
			continue
		}
		rule, err := encryption.rule(port, protocol)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return encryption.withHTTP3(service, kind, rules)
}

// networkRule is the rule of a port on a network load balancer, which knows TCP and UDP only.
func networkRule(port v1.ServicePort) godo.ForwardingRule {
	protocol := protocolTCP
	if port.Protocol == v1.ProtocolUDP {
		protocol = protocolUDP
	}
	return godo.ForwardingRule{
		EntryProtocol: protocol, EntryPort: int(port.Port), TargetProtocol: protocol, TargetPort: int(port.Port),
	}
}

// entryProtocols reads which protocol each port speaks: the lists of ports first, then the Service's protocol.
func entryProtocols(service *v1.Service) (func(v1.ServicePort) string, error) {
	usual, err := oneOf(service, annotationProtocol,
		protocolTCP, protocolHTTP, protocolHTTPS, protocolHTTP2, protocolHTTP3)
	if err != nil {
		return nil, err
	}
	named, err := portLists(service)
	if err != nil {
		return nil, err
	}
	return func(port v1.ServicePort) string {
		if port.Protocol == v1.ProtocolUDP {
			return protocolUDP
		}
		if protocol, ok := named[port.Port]; ok {
			return protocol
		}
		return usual
	}, nil
}

// portLists reads the annotations that give a list of ports each; a port in two lists is a mistake.
func portLists(service *v1.Service) (map[int32]string, error) {
	named := map[int32]string{}
	for _, entry := range []struct{ annotation, protocol string }{
		{annotationHTTPPorts, protocolHTTP}, {annotationTLSPorts, protocolHTTPS}, {annotationHTTP2Ports, protocolHTTP2},
	} {
		numbers, err := ports(service, entry.annotation)
		if err != nil {
			return nil, err
		}
		for _, port := range numbers {
			if other, taken := named[port]; taken {
				return nil, fmt.Errorf("port %d is in the lists of %s and of %s ports: leave one", port, other, entry.protocol)
			}
			named[port] = entry.protocol
		}
	}
	return withDefaultTLSPort(service, named), nil
}

// withDefaultTLSPort adds 443 when a certificate or pass-through is set and no port was named for it.
func withDefaultTLSPort(service *v1.Service, named map[int32]string) map[int32]string {
	encrypted := service.Annotations[annotationCertificateID] != "" || service.Annotations[annotationTLSPassthrough] == "true"
	if _, taken := named[443]; encrypted && !taken && len(list(service, annotationTLSPorts)) == 0 {
		named[443] = protocolHTTPS
	}
	return named
}

// encryption says how the ports with TLS are served: with a certificate on the load balancer, or passed through.
type encryption struct {
	certificate string
	passthrough bool
}

// encryptionOf reads the annotations on TLS.
func encryptionOf(service *v1.Service) (encryption, error) {
	passthrough, err := flag(service, annotationTLSPassthrough)
	return encryption{service.Annotations[annotationCertificateID], passthrough}, err
}

// rule is the rule of a port on a regional load balancer.
func (e encryption) rule(port v1.ServicePort, protocol string) (godo.ForwardingRule, error) {
	rule := godo.ForwardingRule{
		EntryProtocol: protocol, EntryPort: int(port.Port), TargetProtocol: protocol, TargetPort: int(port.NodePort),
	}
	if protocol != protocolHTTPS && protocol != protocolHTTP2 {
		return rule, nil
	}
	switch {
	case e.certificate != "" && e.passthrough:
		return rule, errors.New("either certificate id should be set or tls pass through enabled, not both")
	case e.certificate == "" && !e.passthrough:
		return rule, errors.New("must set certificate id or enable tls pass through")
	case e.passthrough:
		rule.TlsPassthrough = true
	default:
		rule.CertificateID = e.certificate
		rule.TargetProtocol = protocolHTTP
	}
	return rule, nil
}

// withHTTP3 appends the rule for HTTP/3, whose entry is UDP and whose target is a port that another rule has.
func (e encryption) withHTTP3(service *v1.Service, kind string, rules []godo.ForwardingRule) ([]godo.ForwardingRule, error) {
	numbers, err := ports(service, annotationHTTP3Port)
	if err != nil || len(numbers) == 0 || kind == godo.LoadBalancerTypeRegionalNetwork {
		return rules, err
	}
	if len(numbers) > 1 {
		return nil, fmt.Errorf("annotation %s names %d ports: give one", annotationHTTP3Port, len(numbers))
	}
	if e.certificate == "" {
		return nil, errors.New("certificate ID is required for HTTP3")
	}
	for _, port := range service.Spec.Ports {
		if port.Port == numbers[0] {
			return append(rules, godo.ForwardingRule{EntryProtocol: protocolHTTP3, EntryPort: int(port.Port),
				TargetProtocol: protocolHTTP, TargetPort: int(port.NodePort), CertificateID: e.certificate}), nil
		}
	}
	return nil, fmt.Errorf("annotation %s names port %d, which the Service does not have", annotationHTTP3Port, numbers[0])
}
