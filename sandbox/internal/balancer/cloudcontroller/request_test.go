package cloudcontroller

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// recorded are the bodies that DigitalOcean's cloud-controller-manager sent for the Services of the tests below.
const (
	recordedRegional = `{"name":"seaway-web","algorithm":"round_robin","region":"nyc3","size_unit":1,"type":"REGIONAL",
		"forwarding_rules":[{"entry_protocol":"http","entry_port":80,"target_protocol":"http","target_port":32456}],
		"health_check":{"protocol":"http","port":10256,"path":"/healthz","check_interval_seconds":3,
			"response_timeout_seconds":5,"healthy_threshold":5,"unhealthy_threshold":3,"proxy_protocol":false},
		"sticky_sessions":{"type":"none"},"droplet_ids":[1001,1002],"tags":["k8s:CLUSTER"],"vpc_uuid":"VPC",
		"disable_lets_encrypt_dns_records":false,"firewall":{},"network":"EXTERNAL","network_stack":"DUALSTACK"}`
	recordedNetwork = `{"name":"a7bb3c3b12345678123456781234567","algorithm":"round_robin","region":"nyc3","type":"REGIONAL_NETWORK",
		"forwarding_rules":[{"entry_protocol":"tcp","entry_port":80,"target_protocol":"tcp","target_port":80}],
		"health_check":{"protocol":"http","port":32291,"path":"/healthz","check_interval_seconds":3,
			"response_timeout_seconds":5,"healthy_threshold":5,"unhealthy_threshold":3,"proxy_protocol":false},
		"sticky_sessions":{"type":"none"},"droplet_ids":[1001,1002],"tags":["k8s:CLUSTER"],"vpc_uuid":"VPC",
		"disable_lets_encrypt_dns_records":false,"firewall":{},"network":"EXTERNAL","network_stack":"IPV4"}`
)

var testPlace = place{region: "nyc3", vpc: "VPC", cluster: "CLUSTER"}

// webService is a Service with one port, 80, and the annotations given as pairs of short name and value.
func webService(annotations ...string) *v1.Service {
	service := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "7bb3c3b1-2345-6781-2345-6781234567", Annotations: map[string]string{}},
		Spec: v1.ServiceSpec{
			Type:  v1.ServiceTypeLoadBalancer,
			Ports: []v1.ServicePort{{Name: "http", Protocol: v1.ProtocolTCP, Port: 80, NodePort: 32456}},
		},
	}
	for i := 0; i < len(annotations); i += 2 {
		service.Annotations[prefix+annotations[i]] = annotations[i+1]
	}
	return service
}

func TestBodiesEqualTheRecordedOnes(t *testing.T) {
	local := webService()
	local.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal
	local.Spec.HealthCheckNodePort = 32291
	for name, test := range map[string]struct {
		service *v1.Service
		body    string
	}{
		"regional": {webService("name", "seaway-web", "type", "REGIONAL", "protocol", "http"), recordedRegional},
		"network":  {local, recordedNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := buildRequest(test.service, []int{1001, 1002}, testPlace)
			if err != nil {
				t.Fatal(err)
			}
			sent, err := json.Marshal(request)
			if err != nil {
				t.Fatal(err)
			}
			assertSameJSON(t, test.body, string(sent))
		})
	}
}

func assertSameJSON(t *testing.T, want, got string) {
	t.Helper()
	var left, right any
	if err := json.Unmarshal([]byte(want), &left); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(got), &right); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(left, right) {
		t.Errorf("want %s\ngot  %s", want, got)
	}
}

func TestAnnotationsReachTheBody(t *testing.T) {
	for name, test := range map[string]struct {
		service *v1.Service
		part    string
	}{
		"size":         {webService("type", "REGIONAL", "size-unit", "3"), `"size_unit":3`},
		"internal":     {webService("network", "INTERNAL"), `"network":"INTERNAL"`},
		"algorithm":    {webService("algorithm", "least_connections"), `"algorithm":"least_connections"`},
		"sticky":       {webService("sticky-sessions-type", "cookies", "sticky-sessions-cookie-name", "s", "sticky-sessions-cookie-ttl", "60"), `"sticky_sessions":{"type":"cookies","cookie_name":"s","cookie_ttl_seconds":60}`},
		"proxy":        {webService("enable-proxy-protocol", "true"), `"enable_proxy_protocol":true`},
		"firewall":     {webService("deny-rules", "ip:192.0.2.1,cidr:198.51.100.0/24"), `"firewall":{"deny":["ip:192.0.2.1","cidr:198.51.100.0/24"]}`},
		"idle":         {webService("http-idle-timeout-seconds", "90"), `"http_idle_timeout_seconds":90`},
		"http port":    {webService("type", "REGIONAL", "http-ports", "80"), `"entry_protocol":"http","entry_port":80`},
		"passthrough":  {webService("type", "REGIONAL", "tls-ports", "80", "tls-passthrough", "true"), `"target_protocol":"https","target_port":32456,"tls_passthrough":true`},
		"certificate":  {webService("type", "REGIONAL", "tls-ports", "80", "certificate-id", "c1"), `"target_protocol":"http","target_port":32456,"certificate_id":"c1"`},
		"http3":        {webService("type", "REGIONAL", "http3-port", "80", "certificate-id", "c1"), `"entry_protocol":"http3","entry_port":80,"target_protocol":"http"`},
		"thresholds":   {webService("healthcheck-check-interval-seconds", "10", "healthcheck-unhealthy-threshold", "2"), `"check_interval_seconds":10,"response_timeout_seconds":5,"healthy_threshold":5,"unhealthy_threshold":2`},
		"health path":  {webService("type", "REGIONAL", "override-health-check", "", "healthcheck-path", "/up", "healthcheck-protocol", "http"), `"health_check":{"protocol":"http","port":32456,"path":"/up"`},
		"default name": {webService(), `"name":"a7bb3c3b12345678123456781234567"`},
		"default type": {webService(), `"type":"REGIONAL_NETWORK"`},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := buildRequest(test.service, nil, testPlace)
			if err != nil {
				t.Fatal(err)
			}
			sent, _ := json.Marshal(request)
			if !strings.Contains(string(sent), test.part) {
				t.Errorf("want %s in %s", test.part, sent)
			}
		})
	}
}

func TestSourceRangesWinOverAllowRules(t *testing.T) {
	service := webService("allow-rules", "ip:192.0.2.1")
	service.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"}
	request, err := buildRequest(service, nil, testPlace)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(request.Firewall.Allow, []string{"cidr:10.0.0.0/8"}) {
		t.Errorf("allow is %v", request.Firewall.Allow)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for name, test := range map[string]struct {
		service *v1.Service
		message string
	}{
		"size":           {webService("type", "REGIONAL", "size-unit", "abc"), `invalid LB size unit "abc" provided`},
		"two sizes":      {webService("size-unit", "1", "size-slug", "lb-small"), "only one of LB size slug and size unit"},
		"type":           {webService("type", "GLOBAL"), `do-loadbalancer-type is "GLOBAL"`},
		"name":           {webService("name", "-web"), `do-loadbalancer-name is "-web"`},
		"flag":           {webService("enable-proxy-protocol", "maybe"), `is "maybe": give true or false`},
		"range":          {webService("healthcheck-check-interval-seconds", "1"), "give a number from 3 to 300"},
		"two lists":      {webService("type", "REGIONAL", "http-ports", "80", "tls-ports", "80"), "port 80 is in the lists"},
		"no certificate": {webService("type", "REGIONAL", "tls-ports", "80"), "must set certificate id or enable tls pass through"},
		"cookie":         {webService("sticky-sessions-type", "cookies"), "sticky sessions by cookies need"},
		"health port":    {webService("override-health-check", "", "healthcheck-port", "81"), `healthcheck-port is "81"`},
		"bad port":       {webService("http-ports", "eighty"), `holds "eighty"`},
		"http3":          {webService("type", "REGIONAL", "http3-port", "80"), "certificate ID is required for HTTP3"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := buildRequest(test.service, nil, testPlace)
			if err == nil || !strings.Contains(err.Error(), test.message) {
				t.Errorf("want an error with %q, got %v", test.message, err)
			}
		})
	}
}
