package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/seaway-deploy/seaway/sandbox/internal/cleanup"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
	"github.com/seaway-deploy/seaway/sandbox/internal/supervisor"
)

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the sandbox and leave nothing behind but its logs",
		Args:  cobra.NoArgs,
		RunE:  with(func(ctx context.Context, s settings.Settings, _ []string) error { return down(ctx, s) }),
	}
}

// down asks the supervisor to end; when it does not, or is gone, its processes are killed. Both ways all is removed.
func down(ctx context.Context, s settings.Settings) error {
	begun := time.Now()
	turn, err := supervisor.LockStart(s)
	if err != nil {
		return err
	}
	defer turn.Close()
	if supervisor.NewClient(s).Stop(ctx) == nil {
		waitForEnd(ctx, s)
	}
	if err := cleanup.Run(s); err != nil {
		return err
	}
	fmt.Printf("sandbox %d is down after %.1f s; its logs are in %s\n", s.Number, time.Since(begun).Seconds(), s.Path("logs"))
	return nil
}

// waitForEnd waits until the supervisor's lock is free.
func waitForEnd(ctx context.Context, s settings.Settings) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for limited.Err() == nil {
		lock, err := supervisor.Lock(s)
		if err == nil {
			lock.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
