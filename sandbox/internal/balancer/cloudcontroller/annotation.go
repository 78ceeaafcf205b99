package cloudcontroller

import (
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// The annotations of a Service that DigitalOcean's cloud controller reads and writes.
// https://docs.digitalocean.com/products/kubernetes/how-to/configure-load-balancers/
const (
	annotationID     = "kubernetes.digitalocean.com/load-balancer-id"
	annotationDisown = "service.kubernetes.io/do-loadbalancer-disown"
	prefix           = "service.beta.kubernetes.io/do-loadbalancer-"

	annotationName         = prefix + "name"
	annotationType         = prefix + "type"
	annotationNetwork      = prefix + "network"
	annotationNetworkStack = prefix + "network-stack"
	annotationSizeUnit     = prefix + "size-unit"
	annotationSizeSlug     = prefix + "size-slug"
	annotationAlgorithm    = prefix + "algorithm"
	annotationHostname     = prefix + "hostname"

	annotationProtocol        = prefix + "protocol"
	annotationHTTPPorts       = prefix + "http-ports"
	annotationTLSPorts        = prefix + "tls-ports"
	annotationHTTP2Ports      = prefix + "http2-ports"
	annotationHTTP3Port       = prefix + "http3-port"
	annotationTLSPassthrough  = prefix + "tls-passthrough"
	annotationCertificateID   = prefix + "certificate-id"
	annotationRedirectToHTTPS = prefix + "redirect-http-to-https"

	annotationProxyProtocol       = prefix + "enable-proxy-protocol"
	annotationBackendKeepalive    = prefix + "enable-backend-keepalive"
	annotationDisableLetsEncrypt  = prefix + "disable-lets-encrypt-dns-records"
	annotationHTTPIdleTimeout     = prefix + "http-idle-timeout-seconds"
	annotationDenyRules           = prefix + "deny-rules"
	annotationAllowRules          = prefix + "allow-rules"
	annotationStickyType          = prefix + "sticky-sessions-type"
	annotationStickyCookieName    = prefix + "sticky-sessions-cookie-name"
	annotationStickyCookieTTL     = prefix + "sticky-sessions-cookie-ttl"
	annotationOverrideHealthCheck = prefix + "override-health-check"
	annotationHealthPort          = prefix + "healthcheck-port"
	annotationHealthPath          = prefix + "healthcheck-path"
	annotationHealthProtocol      = prefix + "healthcheck-protocol"
	annotationHealthInterval      = prefix + "healthcheck-check-interval-seconds"
	annotationHealthTimeout       = prefix + "healthcheck-response-timeout-seconds"
	annotationHealthUnhealthy     = prefix + "healthcheck-unhealthy-threshold"
	annotationHealthHealthy       = prefix + "healthcheck-healthy-threshold"
)

// text is an annotation's value, or the default when it is absent or empty.
func text(service *v1.Service, name, otherwise string) string {
	if value := service.Annotations[name]; value != "" {
		return value
	}
	return otherwise
}

// number is an annotation's value between two limits, or the default when it is absent.
func number(service *v1.Service, name string, otherwise, least, most int) (int, error) {
	value := service.Annotations[name]
	if value == "" {
		return otherwise, nil
	}
	parsed, err := strconv.Atoi(value)
	if err != nil || parsed < least || parsed > most {
		return 0, fmt.Errorf("annotation %s is %q: give a number from %d to %d", name, value, least, most)
	}
	return parsed, nil
}

// flag is true for an annotation that says "true".
func flag(service *v1.Service, name string) (bool, error) {
	value := service.Annotations[name]
	if value == "" {
		return false, nil
	}
	parsed, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("annotation %s is %q: give true or false", name, value)
	}
	return parsed, nil
}

// oneOf is an annotation's value, which must be among the choices; the first is the default.
func oneOf(service *v1.Service, name string, choices ...string) (string, error) {
	value := text(service, name, choices[0])
	for _, choice := range choices {
		if value == choice {
			return value, nil
		}
	}
	return "", fmt.Errorf("annotation %s is %q: give one of %s", name, value, strings.Join(choices, ", "))
}

// list is an annotation's values between commas.
func list(service *v1.Service, name string) []string {
	var values []string
	for _, value := range strings.Split(service.Annotations[name], ",") {
		if value = strings.TrimSpace(value); value != "" {
			values = append(values, value)
		}
	}
	return values
}

// ports is an annotation's list of port numbers.
func ports(service *v1.Service, name string) ([]int32, error) {
	var numbers []int32
	for _, value := range list(service, name) {
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("annotation %s holds %q: give port numbers between commas", name, value)
		}
		numbers = append(numbers, int32(port))
	}
	return numbers, nil
}
