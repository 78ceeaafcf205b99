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
	running := newRunner(ctx, board, whole.log)
	running.start(parts)
	server := &http.Server{Handler: newServer(board, whole, running, stop)}
	go server.Serve(socket) //nolint:errcheck // always ErrServerClosed, or the next `up` says that nobody answers
	running.wait()
	err = cleanup.Run(s)
	return errors.Join(err, server.Close())
}

// Socket is where the supervisor answers.
func Socket(s settings.Settings) string { return s.Path("supervisor.sock") }

// ErrRuns means that another supervisor of this sandbox lives.
var ErrRuns = errors.New("the sandbox runs already")

// Lock takes the lock that the living supervisor holds, or gives ErrRuns. The kernel gives it back with the process.
func Lock(s settings.Settings) (*os.File, error) {
	file, err := lock(s, "supervisor.lock", unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrRuns
	}
	return file, err
}

// LockStart waits for its turn to start or stop the sandbox: two `up` at once must not take each other for leftovers.
func LockStart(s settings.Settings) (*os.File, error) { return lock(s, "start.lock", 0) }

func lock(s settings.Settings, name string, how int) (*os.File, error) {
	if err := os.MkdirAll(s.Path("logs"), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(s.Path(name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := flock(file, unix.LOCK_EX|how); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file.Name(), err), file.Close())
	}
	return file, nil
}

// flock goes on after a signal: the runtime sends itself many.
func flock(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
