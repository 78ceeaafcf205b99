package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

func logsCommand() *cobra.Command {
	var following bool
	command := &cobra.Command{
		Use:   "logs [part]",
		Short: "Print a part's log, or name the logs that there are",
		Args:  cobra.MaximumNArgs(1),
		RunE: with(func(ctx context.Context, s settings.Settings, arguments []string) error {
			if len(arguments) == 0 {
				return listLogs(s)
			}
			return printLog(ctx, s, arguments[0], following)
		}),
	}
	command.Flags().BoolVarP(&following, "follow", "f", false, "go on as the log grows")
	return command
}

func logNames(s settings.Settings) ([]string, error) {
	files, err := filepath.Glob(s.Log("*"))
	names := make([]string, 0, len(files))
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".log"))
	}
	return names, err
}

func listLogs(s settings.Settings) error {
	names, err := logNames(s)
	for _, name := range names {
		fmt.Println(name)
	}
	return err
}

func printLog(ctx context.Context, s settings.Settings, part string, following bool) error {
	file, err := os.Open(s.Log(part))
	if errors.Is(err, os.ErrNotExist) {
		names, _ := logNames(s)
		return fmt.Errorf("there is no log of %q; there are: %s", part, strings.Join(names, ", "))
	}
	if err != nil {
		return err
	}
	defer file.Close()
	for {
		if _, err := io.Copy(os.Stdout, file); err != nil || !following {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}
