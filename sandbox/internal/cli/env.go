package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seaway-deploy/seaway/sandbox/internal/components"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

func envCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: `Shell exports for clients: eval "$(sandbox env)"`,
		Args:  cobra.NoArgs,
		RunE: with(func(_ context.Context, s settings.Settings, _ []string) error {
			if err := writeBundle(s); err != nil {
				return err
			}
			for _, pair := range exports(s) {
				fmt.Printf("export %s='%s'\n", pair[0], strings.ReplaceAll(pair[1], "'", `'\''`))
			}
			return nil
		}),
	}
}

// exports are the variables under the names that clients know.
func exports(s settings.Settings) [][2]string {
	return [][2]string{
		{"SANDBOX_NUMBER", fmt.Sprint(s.Number)},
		{"SANDBOX_STATE", s.State},
		{"SANDBOX_CACHE", s.Cache},
		{"DIGITALOCEAN_ACCESS_TOKEN", settings.Token},
		{"DIGITALOCEAN_API_URL", s.URL(settings.PortDigitalOcean)},
		{"KUBECONFIG", s.UserKubeconfig()},
		{"DOCKER_HOST", "unix://" + s.DockerSocket()},
		{"BUILDKIT_HOST", "unix://" + s.BuildkitSocket()},
		{"GITHUB_API_URL", s.URL(settings.PortGitHub)},
		{"GITHUB_TOKEN", settings.GitHubToken},
		{"SANDBOX_CA_BUNDLE", bundle(s)},
		{"SANDBOX_CONTROL_URL", s.URL(settings.PortControl)},
		{"SEAWAY_REGISTRY_CONFIG", s.RegistryConfig()},
		{"CONTAINERS_REGISTRIES_CONF", s.Path("registries.conf")},
	}
}

func bundle(s settings.Settings) string { return s.Path("ca-bundle.crt") }

// systemBundle is where Debian keeps the certificates that the machine trusts.
const systemBundle = "/etc/ssl/certs/ca-certificates.crt"

// writeBundle appends the sandbox's authority to those of the machine, for clients of the https address. `up` does so, and
// `env` again, for a sandbox whose `up` was killed.
func writeBundle(s settings.Settings) error {
	own, err := os.ReadFile(s.CACertificate())
	if errors.Is(err, os.ErrNotExist) {
		return nil // not up yet: the variables are right all the same
	}
	if err != nil {
		return err
	}
	system, err := os.ReadFile(systemBundle)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(bundle(s), append(append(system, '\n'), own...), 0o644)
}

// convenience runs a linked client with the sandbox's own environment.
func convenience(arguments []string) int {
	s, err := settings.FromEnvironment()
	if err != nil {
		return report(err)
	}
	variables := exports(s)
	if arguments[0] == "crane" {
		folder, err := writeLogins(s)
		if err != nil {
			return report(err)
		}
		variables = append(variables, [2]string{"DOCKER_CONFIG", folder})
		arguments = append(arguments, "--insecure") // the registries speak http
	}
	for _, pair := range variables {
		if err := os.Setenv(pair[0], pair[1]); err != nil {
			return report(err)
		}
	}
	return components.Run(arguments)
}

// writeLogins writes a configuration in Docker's format that signs in to the sandbox's registries with the seeded token,
// and returns its folder.
func writeLogins(s settings.Settings) (string, error) {
	login := map[string]string{"username": settings.Token, "password": settings.Token}
	logins := map[string]any{"auths": map[string]any{
		s.HostPort(settings.PortRegistry): login, s.HostPort(settings.PortRegistryOld): login,
	}}
	text, err := json.Marshal(logins)
	if err != nil {
		return "", err
	}
	folder := s.Path("crane")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	return folder, os.WriteFile(filepath.Join(folder, "config.json"), text, 0o600)
}
