package dataplane

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	eagerChecks  = 200                    // before a port that never opened is asked about no more often than others
	dialAttempts = 3                      // a pod that has just gone may still be chosen: another try finds another pod
	dialPause    = 100 * time.Millisecond // between two of them
	dialTimeout  = 5 * time.Second
)

// front serves one entry port: it listens while the target is healthy, and hands connections on.
type front struct {
	route  route
	dial   Dial
	second time.Duration
	log    *slog.Logger

	connections sync.WaitGroup
}

// run serves until ctx ends; then the port is free and every connection is cut.
//
// At first the target is asked ten times an interval, until the port has been open: kube-proxy takes up a new address
// only after the Service shows it, and whoever waits for the address should find it open.
func (f *front) run(ctx context.Context) {
	interval := time.Duration(f.route.check.CheckIntervalSeconds) * f.second
	health := &health{route: f.route, dial: f.dial, second: f.second}
	pause := interval / 10
	var listener net.Listener
	for checks := 1; ; checks++ {
		listener = f.adjust(ctx, listener, health.check(ctx))
		if listener != nil || checks == eagerChecks {
			pause = interval
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			f.adjust(ctx, listener, ctx.Err())
			f.connections.Wait()
			return
		}
	}
}

// adjust opens or closes the listener so that it agrees with what the check found.
func (f *front) adjust(ctx context.Context, listener net.Listener, problem error) net.Listener {
	switch {
	case problem != nil && listener != nil:
		_ = listener.Close() // closing is all that is wanted, whatever it answers
		f.log.Info("closed", "because", problem)
		return nil
	case problem == nil && listener == nil:
		opened, err := net.Listen("tcp", f.route.entry)
		if err != nil {
			f.log.Error("cannot listen, trying again at the next check", "error", err)
			return nil
		}
		f.log.Info("open")
		f.connections.Go(func() { f.accept(ctx, opened) })
		return opened
	}
	return listener
}

// accept hands connections on until the listener is closed.
func (f *front) accept(ctx context.Context, listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		f.connections.Go(func() { f.carry(ctx, client) })
	}
}

// carry connects a client with the target until both have said all, or ctx ends.
func (f *front) carry(ctx context.Context, client net.Conn) {
	defer client.Close()
	target, err := f.reach(ctx)
	if err != nil {
		f.log.Warn("connection dropped", "client", client.RemoteAddr().String(), "error", err)
		return
	}
	defer target.Close()
	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), target.Close() })
	defer stop()
	if f.route.proxy {
		if _, err := io.WriteString(target, proxyHeader(client)); err != nil {
			return
		}
	}
	var directions sync.WaitGroup
	directions.Go(func() { pour(target, client) })
	directions.Go(func() { pour(client, target) })
	directions.Wait()
}

// reach dials the target, more than once if it must.
func (f *front) reach(ctx context.Context) (target net.Conn, err error) {
	for attempt := range dialAttempts {
		if attempt > 0 {
			select {
			case <-time.After(dialPause):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if target, err = dialWithin(ctx, f.dial, f.route.target, dialTimeout); err == nil {
			return target, nil
		}
	}
	return nil, err
}

// pour copies one direction and passes its end on, so that a half-closed connection stays half-closed.
func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from) // an error ends the direction just as the end of the data does
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// proxyHeader is the line of the PROXY protocol, version 1, that names the client:
// https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
func proxyHeader(client net.Conn) string {
	from, to := client.RemoteAddr().(*net.TCPAddr), client.LocalAddr().(*net.TCPAddr)
	return fmt.Sprintf("PROXY TCP4 %s %s %d %d\r\n", from.IP, to.IP, from.Port, to.Port)
}

// dialWithin dials, but not for longer than the limit.
func dialWithin(ctx context.Context, dial Dial, address string, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return dial(ctx, "tcp", address)
}
