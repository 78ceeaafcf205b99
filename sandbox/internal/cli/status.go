package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
	"github.com/seaway-deploy/seaway/sandbox/internal/supervisor"
)

func statusCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:   "status",
		Short: "A line a part; exit code 0 when all are ready, 1 when not, 3 when the sandbox does not run",
		Args:  cobra.NoArgs,
		RunE:  with(func(ctx context.Context, s settings.Settings, _ []string) error { return status(ctx, s, asJSON) }),
	}
	command.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return command
}

func status(ctx context.Context, s settings.Settings, asJSON bool) error {
	all, err := supervisor.NewClient(s).Status(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(os.Stdout).Encode(all)
	} else {
		for _, part := range all {
			fmt.Printf("%-17s %-9s %s\n", part.Part, part.State, firstLine(part.Detail))
		}
	}
	for _, part := range all {
		if part.State != supervisor.Ready {
			return exitCode(exitFailure)
		}
	}
	return err
}

// firstLine of a detail: a failure may go on with the end of a log.
func firstLine(detail string) string {
	line, _, _ := strings.Cut(detail, "\n")
	return line
}

func resetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reset",
		Short: "Back to the seeded state without a restart",
		Args:  cobra.NoArgs,
		RunE: with(func(ctx context.Context, s settings.Settings, _ []string) error {
			return supervisor.NewClient(s).Reset(ctx)
		}),
	}
}
