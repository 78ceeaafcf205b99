package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/seaway-deploy/seaway/sandbox/internal/cleanup"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
	"github.com/seaway-deploy/seaway/sandbox/internal/supervisor"
)

// patience is how long a supervisor may take to answer after its start, and to end after its stop.
const patience = 20 * time.Second

func upCommand() *cobra.Command {
	var parts []string
	command := &cobra.Command{
		Use:   "up",
		Short: "Start the sandbox and wait until all of it is ready; twice is once",
		Args:  cobra.NoArgs,
		RunE: with(func(ctx context.Context, s settings.Settings, _ []string) error {
			return up(ctx, s, parts)
		}),
	}
	command.Flags().StringSliceVar(&parts, "parts", nil, "only these parts and what they need; a sandbox that runs gets those that it lacks (of "+strings.Join(supervisor.PartNames(), ", ")+")")
	return command
}

// up starts a supervisor if none lives, asks a living one for the parts that it lacks, and follows until all is ready.
func up(ctx context.Context, s settings.Settings, parts []string) error {
	started, err := start(ctx, s, parts)
	if err == nil {
		err = errors.Join(follow(ctx, s), writeBundle(s))
	}
	if started && ctx.Err() != nil { // interrupted: what was begun is taken back
		return errors.Join(err, down(context.WithoutCancel(ctx), s))
	}
	return err
}

// start tells whether it was this call that started the supervisor. It returns when the supervisor answers.
func start(ctx context.Context, s settings.Settings, parts []string) (bool, error) {
	turn, err := supervisor.LockStart(s)
	if err != nil {
		return false, err
	}
	defer turn.Close()
	lock, err := supervisor.Lock(s)
	if errors.Is(err, supervisor.ErrRuns) {
		fmt.Printf("sandbox %d runs already%s\n", s.Number, supervisor.OtherBuild(s))
		if len(parts) == 0 {
			return false, nil
		}
		return false, errors.Join(supervisor.Check(parts), supervisor.NewClient(s).Start(ctx, parts))
	}
	if err != nil {
		return false, err
	}
	if err := supervisor.Check(parts); err != nil {
		return false, errors.Join(err, lock.Close())
	}
	// Whatever a killed run left would be in the way.
	err = errors.Join(cleanup.Run(s), clearLogs(s))
	if err := errors.Join(err, lock.Close()); err != nil {
		return false, err
	}
	ended, err := supervisor.Launch(s, parts)
	if err != nil {
		return false, err
	}
	return true, answers(ctx, s, ended)
}

func clearLogs(s settings.Settings) error {
	return errors.Join(os.RemoveAll(s.Path("logs")), os.MkdirAll(s.Path("logs"), 0o755))
}

// follow prints a line for every part that gets ready or fails, until nothing is on its way any more.
func follow(ctx context.Context, s settings.Settings) error {
	waiting := newReminder()
	defer waiting.stop()
	told := map[string]string{}
	var failed []supervisor.Status
	err := supervisor.NewClient(s).Follow(ctx, func(all []supervisor.Status) bool {
		waiting.see(all)
		for _, status := range all {
			if told[status.Part] != status.State {
				told[status.Part] = status.State
				tell(s, status)
			}
		}
		var settled bool
		settled, failed = supervisor.Settled(all)
		return !settled
	})
	if err != nil {
		return fmt.Errorf("%w: see %s", err, s.Log("supervisor"))
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d parts failed; what runs goes on until `sandbox down`", len(failed))
	}
	return nil
}

// reminder names the parts that are still starting, when nothing was told for a while.
type reminder struct {
	timer    *time.Timer
	mu       sync.Mutex
	starting []string
}

// quiet is how long a person should wait without a word.
const quiet = 15 * time.Second

func newReminder() *reminder {
	r := &reminder{}
	r.timer = time.AfterFunc(quiet, r.remind)
	return r
}

func (r *reminder) see(all []supervisor.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting = nil
	for _, status := range all {
		if status.State == supervisor.Starting {
			r.starting = append(r.starting, status.Part)
		}
	}
	r.timer.Reset(quiet)
}

func (r *reminder) remind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.starting) > 0 {
		fmt.Printf("still starting: %s (`sandbox logs %s` tells more)\n", strings.Join(r.starting, ", "), r.starting[0])
	}
	r.timer.Reset(quiet)
}

func (r *reminder) stop() { r.timer.Stop() }

func tell(s settings.Settings, status supervisor.Status) {
	switch status.State {
	case supervisor.Ready:
		fmt.Printf("%-17s ready   %6.1f s  %s\n", status.Part, status.Elapsed.Seconds(), status.Detail)
	case supervisor.Failed:
		fmt.Printf("%-17s FAILED  %6.1f s  %s\n", status.Part, status.Elapsed.Seconds(), firstLine(status.Detail))
		for _, line := range tail(s.Log(status.Part), 10) {
			fmt.Println("    ", line)
		}
	}
}

// answers waits for the supervisor's socket.
func answers(ctx context.Context, s settings.Settings, ended <-chan error) error {
	client := supervisor.NewClient(s)
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		_, err := client.Status(limited)
		if err == nil {
			return nil
		}
		select {
		case cause := <-ended:
			return fmt.Errorf("the supervisor ended at once (%v):\n%s", cause, strings.Join(tail(s.Log("supervisor"), 10), "\n"))
		case <-limited.Done():
			return fmt.Errorf("the supervisor does not answer: %w; see %s", err, s.Log("supervisor"))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail is the last lines of a file, or none.
func tail(file string, count int) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return lines[max(0, len(lines)-count):]
}
