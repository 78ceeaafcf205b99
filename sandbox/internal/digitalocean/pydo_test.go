package digitalocean_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// pydoVersion is the version of DigitalOcean's Python client.
const pydoVersion = "0.44.0"

// python gives an interpreter that has pydo, kept in the user's cache folder, or says why there is none.
func python() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "seaway-sandbox", "pydo-"+pydoVersion)
	interpreter, complete := filepath.Join(folder, "bin", "python"), filepath.Join(folder, "complete")
	if _, err := os.Stat(complete); err == nil {
		return interpreter, nil
	}
	for _, command := range [][]string{
		{"python3", "-m", "venv", "--clear", folder},
		{interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pydo==" + pydoVersion},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, output)
		}
	}
	return interpreter, os.WriteFile(complete, nil, 0o644)
}

// TestPydo: DigitalOcean's Python client, which wants https, works with the sandbox's certificate authority.
func TestPydo(t *testing.T) {
	interpreter, err := python()
	if err != nil {
		t.Skipf("pydo cannot be installed here: %v", err)
	}
	b := newBench(t)
	command := exec.Command(interpreter, filepath.Join("testdata", "pydo_client.py"))
	command.Env = append(os.Environ(), "TOKEN="+settings.Token, "REQUESTS_CA_BUNDLE="+b.Settings.CACertificate(),
		fmt.Sprintf("ENDPOINT=https://%s", b.Settings.HostPort(settings.PortDigitalOceanHTTPS)))
	output, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(output), settings.ClusterName) {
		t.Errorf("%s: %v", output, err)
	}
}
