package faults

import (
	"context"
	"io"
	"net"
	"sync"
)

// connect is how a connection is called where others have methods.
const connect = "CONNECT"

// serveConnections carries connections whose content it cannot read, until ctx ends.
func (p proxy) serveConnections(ctx context.Context, listeners []net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		for _, listener := range listeners {
			_ = listener.Close() // Accept tells about it
		}
	})
	defer stop()
	var all sync.WaitGroup
	for _, listener := range listeners {
		all.Go(func() {
			for {
				client, err := listener.Accept()
				if err != nil {
					return // closed: ctx has ended
				}
				all.Go(func() { p.carry(ctx, client) })
			}
		})
	}
	all.Wait()
	return nil
}

// carry leads one connection to the target and lets the rule that hits it do its work.
func (p proxy) carry(ctx context.Context, client net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = client.Close() })
	p.Rules.count(p.target, connect, func(c *Count) { c.Requests++ })
	rule := p.Rules.match(p.target, connect, "")
	if rule == nil {
		rule = &Rule{}
	}
	if rule.Delay > 0 && !wait(ctx, ctx, rule.Delay.Duration()) {
		return
	}
	if rule.Hold {
		select {
		case <-ctx.Done():
		case <-rule.removed:
		}
		return
	}
	target, err := new(net.Dialer).DialContext(ctx, "tcp", p.Settings.HostPort(p.to))
	if err != nil {
		p.Log.Debug("the target does not answer", "target", p.target, "cause", err)
		return
	}
	context.AfterFunc(ctx, func() { _ = target.Close() })
	up := &body{ReadCloser: client, cut: rule.CutRequest, counted: func(n int) {
		p.Rules.count(p.target, connect, func(c *Count) { c.RequestBytes += int64(n) })
	}}
	down := &body{ReadCloser: target, cut: rule.CutResponse, counted: func(n int) {
		p.Rules.count(p.target, connect, func(c *Count) { c.ResponseBytes += int64(n) })
	}}
	var both sync.WaitGroup
	both.Go(func() { pipe(target, up, cancel) })
	both.Go(func() { pipe(client, down, cancel) })
	both.Wait()
}

// pipe carries one direction. An end of the stream is passed on; a cut, or any other failure, hangs up both directions.
func pipe(to net.Conn, from io.Reader, hangUp func()) {
	if _, err := io.Copy(to, from); err != nil {
		hangUp()
		return
	}
	half, ok := to.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		hangUp()
	}
}
