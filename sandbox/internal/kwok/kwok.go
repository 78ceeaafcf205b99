// Package kwok runs KWOK beside the real node: nodes and pods that exist in the API only, by the hundreds.
//
// A node that carries the label type=kwok is played: it gets ready and stays so, and its pods run at once. Taint such
// nodes with kwok.x-k8s.io/node=fake:NoSchedule, so that ordinary pods stay on the real one.
package kwok

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/cluster"
)

// Config says what plays where.
type Config struct {
	Program string // KWOK
	Stages  string // YAML file: what becomes of nodes and pods
	Node    cluster.Node
	Log     *slog.Logger
}

// address is where KWOK answers about itself, inside the cluster's network.
const address = "127.0.0.1:10247"

// patience bounds its start.
const patience = time.Minute

// Run starts KWOK inside the node, which keeps it running, and calls ready when it answers.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	if _, err := os.Stat(config.Program); err != nil {
		return fmt.Errorf("KWOK is not built: `SANDBOX_KWOK=1 sandbox/build.sh` makes it: %w", err)
	}
	err := config.Node.Keep("kwok", config.Program, "--kubeconfig="+config.Node.Kubeconfig, "--config="+config.Stages,
		"--manage-nodes-with-label-selector=type=kwok", "--node-lease-duration-seconds=40",
		"--cidr=10.245.0.1/16", "--node-ip=10.255.0.1", "--server-address="+address)
	if err != nil {
		return err
	}
	if err := wait(ctx, config.Node); err != nil {
		return err
	}
	ready("plays the nodes with the label type=kwok")
	<-ctx.Done()
	return nil
}

// wait asks for its health until that is good.
func wait(ctx context.Context, node cluster.Node) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return node.Network.DialContext(ctx, network, address)
	}}}
	defer client.CloseIdleConnections()
	for {
		err := ask(limited, client)
		if err == nil {
			return nil
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("KWOK does not get healthy: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func ask(ctx context.Context, client *http.Client) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return err
}
