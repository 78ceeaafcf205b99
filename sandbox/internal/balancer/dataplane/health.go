package dataplane

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// health judges a target by two questions at every check interval.
//
// The first is the load balancer's own health check, with its thresholds: by default kube-proxy's health on the node,
// which says nothing about pods. The second is whether the target port accepts a connection, as kube-proxy refuses
// one that has no ready pod; its answer counts at once.
type health struct {
	route  route
	dial   Dial
	second time.Duration

	asked   bool  // the node has been asked before
	verdict error // what is held against the node, after thresholds
	streak  int   // how many answers in a row contradict the verdict
}

// check asks both questions; nil is healthy.
func (h *health) check(ctx context.Context) error {
	node := h.judge(h.probeNode(ctx))
	if node != nil {
		return fmt.Errorf("health check failed: %w", node)
	}
	return h.probeTarget(ctx)
}

// judge takes an answer of the node into account. The first answer is the verdict; after that it takes as many answers
// in a row to change it as the thresholds say.
func (h *health) judge(answer error) error {
	if !h.asked {
		h.asked, h.verdict = true, answer
		return answer
	}
	if (answer == nil) == (h.verdict == nil) {
		h.streak = 0
		return h.verdict
	}
	h.streak++
	threshold := h.route.check.UnhealthyThreshold
	if answer == nil {
		threshold = h.route.check.HealthyThreshold
	}
	if h.streak >= threshold {
		h.streak, h.verdict = 0, answer
	}
	return h.verdict
}

// probeNode runs the load balancer's health check once.
func (h *health) probeNode(ctx context.Context) error {
	check := h.route.check
	if check.Port == 0 {
		return nil // no port to ask: the target port alone decides
	}
	address := net.JoinHostPort(h.route.node, strconv.Itoa(check.Port))
	if check.Protocol != "http" && check.Protocol != "https" {
		return h.connects(ctx, address)
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, check.Protocol+"://"+address+check.Path, nil)
	if err != nil {
		return err
	}
	response, err := h.client().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("%s answered %s", request.URL, response.Status)
	}
	return nil
}

// client makes every request on a connection of its own and follows nothing: a redirect is a healthy answer.
func (h *health) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:       h.dial,
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // a health check knows no name to verify
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// probeTarget connects to the target port. A refusal is asked about again a few times within the interval, because a
// pod that has just gone may still be chosen among others that are well.
func (h *health) probeTarget(ctx context.Context) (err error) {
	pause := time.Duration(h.route.check.CheckIntervalSeconds) * h.second / 10
	for attempt := range h.route.check.UnhealthyThreshold {
		if attempt > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err = h.connects(ctx, h.route.target); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no target accepts connections: %w", err)
}

// connects says whether an address accepts a connection.
func (h *health) connects(ctx context.Context, address string) error {
	connection, err := dialWithin(ctx, h.dial, address, h.timeout())
	if err != nil {
		return err
	}
	return connection.Close()
}

// timeout is how long one question may take.
func (h *health) timeout() time.Duration {
	return time.Duration(h.route.check.ResponseTimeoutSeconds) * h.second
}
