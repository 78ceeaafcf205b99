package cluster

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/seaway-deploy/seaway/sandbox/internal/netns"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// forward listens on the machine and joins every connection to the API server inside. Closing the listener ends it.
func forward(ctx context.Context, address string, inside *netns.Namespace) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the Kubernetes API: %w", err)
	}
	target := fmt.Sprintf("127.0.0.1:%d", settings.PortKubernetes)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go join(context.WithoutCancel(ctx), connection, inside, target)
		}
	}()
	return listener, nil
}

// join copies both ways until both are done. A half that ends closes only its direction: exec and attach rely on it.
func join(ctx context.Context, outer net.Conn, inside *netns.Namespace, target string) {
	defer outer.Close()
	inner, err := inside.DialContext(ctx, "tcp", target)
	if err != nil {
		return // the client sees its connection close, as with any server that is down
	}
	defer inner.Close()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{inner, outer}, {outer, inner}} {
		go func() {
			io.Copy(pair[0], pair[1]) //nolint:errcheck // a broken connection is an end like any other
			if half, ok := pair[0].(interface{ CloseWrite() error }); ok {
				half.CloseWrite() //nolint:errcheck // closed already
			}
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}
