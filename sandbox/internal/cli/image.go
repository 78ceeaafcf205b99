package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/seaway-deploy/seaway/sandbox/internal/hub"
	"github.com/seaway-deploy/seaway/sandbox/internal/registry"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// imageCommand brings an image into the Docker Hub stand-in that `up` leaves out because few need it.
func imageCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "image NAME",
		Short: "Add an image to the Docker Hub stand-in: " + strings.Join(hub.Extras(), ", "),
		Args:  cobra.ExactArgs(1),
		RunE: with(func(ctx context.Context, s settings.Settings, arguments []string) error {
			password, err := registry.HubPassword(s)
			if err != nil {
				return err
			}
			config := hub.Config{
				Settings: s, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Registry: s.HostPort(settings.PortHub),
				Push: &authn.Basic{Username: registry.HubUser, Password: password},
			}
			if err := hub.Add(ctx, config, arguments[0]); err != nil {
				return err
			}
			fmt.Println(arguments[0])
			return nil
		}),
	}
}
