package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seaway-deploy/seaway/sandbox/internal/cleanup"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// SuperviseCommand is the hidden command under which `up` starts the supervisor; the names of parts follow.
const SuperviseCommand = "supervise"

// Supervise runs the chosen parts until it is told to stop, then leaves nothing behind but the logs.
func Supervise(s settings.Settings, names []string) error {
	lock, err := Lock(s)
	if err != nil {
		return err
	}
	defer lock.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	whole, err := newSandbox(s)
	if err != nil {
		return err
	}
	parts, err := Choose(whole.parts(), names)
	if err != nil {
		return err
	}
	board := newBoard()
	socket, err := net.Listen("unix", Socket(s))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newServer(board, whole, stop)}
	go server.Serve(socket) //nolint:errcheck // always ErrServerClosed, or the next `up` says that nobody answers
	runAll(ctx, parts, board, whole.log)
	<-ctx.Done() // when all parts failed, their causes can still be asked for
	err = cleanup.Run(s)
	return errors.Join(err, server.Close())
}

// Socket is where the supervisor answers.
func Socket(s settings.Settings) string { return s.Path("supervisor.sock") }

// LockFile is held by the living supervisor: the kernel gives it back with the process.
func lockFile(s settings.Settings) string { return s.Path("supervisor.lock") }

// ErrRuns means that another supervisor of this sandbox lives.
var ErrRuns = errors.New("the sandbox runs already")

// Lock takes the sandbox's lock, or gives ErrRuns.
func Lock(s settings.Settings) (*os.File, error) {
	if err := os.MkdirAll(s.Path("logs"), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(lockFile(s), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrRuns
		}
		return nil, fmt.Errorf("lock %s: %w", lockFile(s), err)
	}
	return file, nil
}
