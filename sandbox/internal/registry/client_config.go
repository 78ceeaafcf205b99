package registry

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// hostsFile leads one registry's name to an address, for containerd, for BuildKit and for Seaway:
// https://github.com/containerd/containerd/blob/main/docs/hosts.md
const hostsFile = `server = %[1]q

[host.%[1]q]
  capabilities = ["pull", "resolve", "push"]
`

// registriesFile does the same for skopeo, podman and buildah:
// https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md
const registriesFile = `
[[registry]]
prefix = %q
location = %q
insecure = true
`

// SkopeoConfig is the path of the registries.conf for skopeo: pass it with `--registries-conf`. Podman and buildah take it
// from the variable CONTAINERS_REGISTRIES_CONF, which skopeo 1.9 does not read. Only reading follows it, and only with
// credentials that an auth file holds for the address that it leads to: those of `--creds` are for the name alone.
func SkopeoConfig(s settings.Settings) string { return s.Path("registries.conf") }

// WriteClientConfig writes what leads the names of the registries here.
func WriteClientConfig(s settings.Settings) error {
	skopeo := `unqualified-search-registries = ["docker.io"]` + "\n"
	for _, registry := range []struct {
		name string
		port int
	}{{settings.RegistryHost, settings.PortRegistry}, {"docker.io", settings.PortHub}} {
		folder := filepath.Join(s.RegistryConfig(), registry.name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		text := fmt.Sprintf(hostsFile, s.URL(registry.port))
		if err := os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(text), 0o644); err != nil {
			return err
		}
		skopeo += fmt.Sprintf(registriesFile, registry.name, s.HostPort(registry.port))
	}
	return os.WriteFile(SkopeoConfig(s), []byte(skopeo), 0o644)
}
