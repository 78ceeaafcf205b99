// Package cli is the command line of the sandbox.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seaway-deploy/seaway/sandbox/internal/cluster"
	"github.com/seaway-deploy/seaway/sandbox/internal/components"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
	"github.com/seaway-deploy/seaway/sandbox/internal/supervisor"
)

// The exit codes of the sandbox.
const (
	exitOK       = 0
	exitFailure  = 1 // the command failed, or a part does
	exitMisuse   = 2 // of the command line: see misuse
	exitStopped  = 3 // status: the sandbox does not run
	exitSignal   = 130
	commandIndex = 1
)

// Main runs the command line and returns the exit code.
func Main(arguments []string) int {
	if code, done := hidden(arguments); done {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := root().ExecuteContext(ctx)
	return explain(ctx, err)
}

// hidden are the commands that must not pass through a parser of ours: the stock programs, which bring their own, and
// process 1 of the node.
func hidden(arguments []string) (code int, done bool) {
	if len(arguments) <= commandIndex {
		return 0, false
	}
	switch arguments[commandIndex] {
	case "component":
		return components.Run(arguments[2:]), true
	case "kubectl", "crane":
		return convenience(arguments[commandIndex:]), true
	case cluster.InitCommand:
		return report(cluster.Init()), true
	case supervisor.SuperviseCommand:
		s, err := settings.FromEnvironment()
		if err == nil {
			err = supervisor.Supervise(s, arguments[2:])
		}
		return report(err), true
	}
	return 0, false
}

func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return exitFailure
	}
	return exitOK
}

// misuse is an error in the command line itself.
type misuse struct{ error }

// exitCode is an error that was told already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func explain(ctx context.Context, err error) int {
	var code exitCode
	var wrong misuse
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "interrupted")
		return exitSignal
	case errors.Is(err, supervisor.ErrStopped):
		fmt.Fprintln(os.Stderr, "error:", err)
		return exitStopped
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	if errors.As(err, &wrong) || strings.HasPrefix(err.Error(), "unknown command") {
		return exitMisuse
	}
	return exitFailure
}

func root() *cobra.Command {
	command := &cobra.Command{
		Use:   "sandbox",
		Short: "A DigitalOcean account on your own machine",
		Long: "A DigitalOcean account on your own machine: a real Kubernetes, registry and Docker Engine,\n" +
			"and an emulated account around them. SANDBOX_NUMBER chooses one of many (default 1),\n" +
			"SANDBOX_STATE its folder, SANDBOX_CACHE the folder of built programs and images.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse{err} })
	_ = pflag.CommandLine.MarkHidden("version") // Kubernetes' own, not this program's; missing would be fine
	command.AddCommand(upCommand(), downCommand(), statusCommand(), envCommand(), logsCommand(), resetCommand(), imageCommand(),
		shown("kubectl", "kubectl with the sandbox's kubeconfig"), shown("crane", "crane with the sandbox's registry"),
		shown("component", "Run one of the stock programs that are linked in: sandbox component NAME FLAGS…"))
	return command
}

// shown is a line in the help for a command that is handled by hidden.
func shown(name, short string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, DisableFlagParsing: true, RunE: func(*cobra.Command, []string) error { return nil }}
}

// with gives a command its settings.
func with(run func(ctx context.Context, s settings.Settings, arguments []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, arguments []string) error {
		s, err := settings.FromEnvironment()
		if err != nil {
			return err
		}
		return run(command.Context(), s, arguments)
	}
}
