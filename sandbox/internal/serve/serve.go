// Package serve runs one HTTP handler on any number of listeners: on the machine and inside namespaces.
package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Listen opens a port of the sandbox's address wherever it is to be reached: on the machine, and inside each of the
// sandbox's network namespaces.
type Listen func(port int) ([]net.Listener, error)

// grace is how long requests may go on after the end was asked for. Nothing here is worth waiting for longer.
const grace = 200 * time.Millisecond

// HTTP serves until ctx ends, then gives nil. It closes the listeners.
func HTTP(ctx context.Context, listeners []net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, len(listeners))
	for _, listener := range listeners {
		go func() { ended <- server.Serve(listener) }()
	}
	select {
	case err := <-ended:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if server.Shutdown(limited) != nil {
		return server.Close()
	}
	return nil
}
