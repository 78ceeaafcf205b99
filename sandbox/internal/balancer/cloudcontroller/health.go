package cloudcontroller

import (
	"fmt"
	"strconv"

	"github.com/digitalocean/godo"
	v1 "k8s.io/api/core/v1"
)

// fillHealthCheck asks the node rather than the application: kube-proxy's own health, or, with the traffic policy
// Local, the port that says whether this node has a pod of the Service. Annotations may override the target.
func fillHealthCheck(service *v1.Service, request *godo.LoadBalancerRequest) error {
	check := &godo.HealthCheck{Protocol: protocolHTTP, Port: kubeProxyHealthPort, Path: "/healthz", ProxyProtocol: godo.PtrTo(false)}
	if service.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal && service.Spec.HealthCheckNodePort != 0 {
		check.Port = int(service.Spec.HealthCheckNodePort)
	}
	if _, override := service.Annotations[annotationOverrideHealthCheck]; override {
		if err := overrideTarget(service, request.Type, check); err != nil {
			return err
		}
	}
	request.HealthCheck = check
	return fillThresholds(service, check)
}

// overrideTarget points the check at one of the Service's ports: the first, or the one that the annotation names.
func overrideTarget(service *v1.Service, kind string, check *godo.HealthCheck) (err error) {
	check.Protocol, err = oneOf(service, annotationHealthProtocol, protocolTCP, protocolHTTP, protocolHTTPS)
	if err != nil {
		return err
	}
	check.Path = service.Annotations[annotationHealthPath]
	if check.Path == "" && check.Protocol != protocolTCP {
		check.Path = "/"
	}
	check.Port, err = overridePort(service, kind)
	return err
}

// overridePort is the port of the check as the load balancer reaches it.
func overridePort(service *v1.Service, kind string) (int, error) {
	wanted := service.Annotations[annotationHealthPort]
	for _, port := range service.Spec.Ports {
		if wanted != "" && wanted != strconv.Itoa(int(port.Port)) {
			continue
		}
		if kind == godo.LoadBalancerTypeRegionalNetwork {
			return int(port.Port), nil
		}
		return int(port.NodePort), nil
	}
	return 0, fmt.Errorf("annotation %s is %q: name a port of the Service", annotationHealthPort, wanted)
}

// fillThresholds sets the times of the check, in seconds, and how many answers in a row change the verdict.
func fillThresholds(service *v1.Service, check *godo.HealthCheck) error {
	for _, entry := range []struct {
		name                   string
		target                 *int
		otherwise, least, most int
	}{
		{annotationHealthInterval, &check.CheckIntervalSeconds, 3, 3, 300},
		{annotationHealthTimeout, &check.ResponseTimeoutSeconds, 5, 3, 300},
		{annotationHealthHealthy, &check.HealthyThreshold, 5, 2, 10},
		{annotationHealthUnhealthy, &check.UnhealthyThreshold, 3, 2, 10},
	} {
		value, err := number(service, entry.name, entry.otherwise, entry.least, entry.most)
		if err != nil {
			return err
		}
		*entry.target = value
	}
	return nil
}
