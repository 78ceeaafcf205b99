// Package netns listens and dials inside a network namespace of another process.
//
// A socket belongs to the namespace of the thread that made it, for as long as it lives; the rest of the program stays
// where it is. So one process serves the same handler on the machine and inside any number of namespaces.
package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is an open handle on a network namespace: it stays valid when the process that made it is gone.
type Namespace struct{ file *os.File }

// OfProcess opens the network namespace of a process.
func OfProcess(pid int) (*Namespace, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, fmt.Errorf("open the network namespace of process %d: %w", pid, err)
	}
	return &Namespace{file}, nil
}

// Close gives the handle back. Sockets made through it stay open.
func (n *Namespace) Close() error { return n.file.Close() }

// Do runs work on a thread that is inside the namespace. The thread is not used again: a thread whose way back failed
// would leave the program with goroutines in the wrong network, so it ends with its goroutine.
func (n *Namespace) Do(work func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread together with this goroutine
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network namespace: %w", err)
			return
		}
		done <- work()
	}()
	return <-done
}

// Listen listens inside the namespace.
func (n *Namespace) Listen(network, address string) (listener net.Listener, err error) {
	err = n.Do(func() (inner error) {
		listener, inner = net.Listen(network, address)
		return inner
	})
	return listener, err
}

// DialContext dials from inside the namespace. The address must be a literal: a name would be resolved by other threads.
func (n *Namespace) DialContext(ctx context.Context, network, address string) (connection net.Conn, err error) {
	err = n.Do(func() (inner error) {
		connection, inner = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
		return inner
	})
	return connection, err
}
