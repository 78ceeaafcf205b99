package supervisor

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/seaway-deploy/seaway/sandbox/internal/netns"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Listeners opens ports of the sandbox's address on the machine and in every namespace, also in those that come later.
type Listeners struct {
	settings settings.Settings

	mu         sync.Mutex
	namespaces []*netns.Namespace
	open       map[int]*gathering
}

// NewListeners begins with the machine alone.
func NewListeners(s settings.Settings) *Listeners {
	return &Listeners{settings: s, open: map[int]*gathering{}}
}

// Listen gives one listener that accepts the connections to the port from everywhere.
func (l *Listeners) Listen(port int) ([]net.Listener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[port] != nil && !l.open[port].isClosed() {
		return nil, fmt.Errorf("port %d is taken by another part", port)
	}
	address := l.settings.HostPort(port)
	outside, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	g := newGathering(outside)
	for _, namespace := range l.namespaces {
		if err := g.addFrom(namespace, address); err != nil {
			return nil, errors.Join(err, g.Close())
		}
	}
	l.open[port] = g
	return []net.Listener{g}, nil
}

// Add opens every port, those of now and those to come, inside a namespace too.
func (l *Listeners) Add(namespace *netns.Namespace) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.namespaces = append(l.namespaces, namespace)
	var problems []error
	for port, g := range l.open {
		if !g.isClosed() {
			problems = append(problems, g.addFrom(namespace, l.settings.HostPort(port)))
		}
	}
	return errors.Join(problems...)
}

// gathering is one listener made of many.
type gathering struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once

	mu        sync.Mutex
	listeners []net.Listener
}

func newGathering(first net.Listener) *gathering {
	g := &gathering{accepted: make(chan net.Conn), closed: make(chan struct{})}
	g.add(first)
	return g
}

func (g *gathering) addFrom(namespace *netns.Namespace, address string) error {
	listener, err := namespace.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s inside a namespace: %w", address, err)
	}
	g.add(listener)
	return nil
}

func (g *gathering) add(listener net.Listener) {
	g.mu.Lock()
	g.listeners = append(g.listeners, listener)
	g.mu.Unlock()
	go g.pump(listener)
}

// pump hands on connections until its listener ends.
func (g *gathering) pump(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		select {
		case g.accepted <- connection:
		case <-g.closed:
			connection.Close()
			return
		}
	}
}

func (g *gathering) isClosed() bool {
	select {
	case <-g.closed:
		return true
	default:
		return false
	}
}

// Accept waits for the next connection from anywhere.
func (g *gathering) Accept() (net.Conn, error) {
	select {
	case connection := <-g.accepted:
		return connection, nil
	case <-g.closed:
		return nil, net.ErrClosed
	}
}

// Close closes all listeners.
func (g *gathering) Close() error {
	g.once.Do(func() { close(g.closed) })
	g.mu.Lock()
	defer g.mu.Unlock()
	var problems []error
	for _, listener := range g.listeners {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Addr is the address on the machine.
func (g *gathering) Addr() net.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listeners[0].Addr()
}
