package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// fresh is how long a summary is good for: the kubelet itself looks at its containers every ten seconds or so.
const fresh = 2 * time.Second

// kubelet asks the node for its summary, once for all who ask within a moment.
type kubelet struct {
	client rest.Interface

	mu      sync.Mutex
	summary *stats.Summary
	at      time.Time
}

// read gives the summary and when it was taken.
func (k *kubelet) read(ctx context.Context) (*stats.Summary, time.Time, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.summary != nil && time.Since(k.at) < fresh {
		return k.summary, k.at, nil
	}
	body, err := k.client.Get().AbsPath("/api/v1/nodes", settings.NodeName, "proxy/stats/summary").DoRaw(ctx)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("ask the kubelet of %s: %w", settings.NodeName, err)
	}
	summary := &stats.Summary{}
	if err := json.Unmarshal(body, summary); err != nil {
		return nil, time.Time{}, fmt.Errorf("the kubelet's summary: %w", err)
	}
	k.summary, k.at = summary, time.Now()
	return summary, k.at, nil
}
