package supervisor

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/seaway-deploy/seaway/sandbox/internal/engine"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// helpers are what is built or fetched beside the sandbox, because it does not link with it: programs, and the
// definitions of the resources that Contour serves. build.sh leaves the folder of its last build as bin/current in the
// cache.
var helpers = append(engine.Programs(), "buildkitd", "contour", "envoy", "definitions.yaml", "kwok", "stages.yaml")

// program is where the running sandbox finds itself (by the name "sandbox") and its helpers.
func program(s settings.Settings, name string) string { return s.Path("bin", name) }

// own links this program and its helpers into the state folder: there they stay the same files while newer ones are
// built over them, and pods can mount them. A helper that was not built is left out; the part that needs it says so.
func own(s settings.Settings) (string, error) {
	binary, err := os.Executable()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(s.Path("bin"), 0o755); err != nil {
		return "", err
	}
	for _, name := range helpers {
		if err := ownHelper(s, binary, name); err != nil {
			return "", err
		}
	}
	return program(s, "sandbox"), link(binary, program(s, "sandbox"))
}

// ownHelper links the helper that lies beside this program, or that of the last build.
func ownHelper(s settings.Settings, binary, name string) error {
	for _, folder := range []string{filepath.Dir(binary), filepath.Join(s.Cache, "bin", "current")} {
		if err := link(filepath.Join(folder, name), program(s, name)); !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ownMissing links the helpers that have been built since the sandbox started.
func ownMissing(s settings.Settings) error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	for _, name := range helpers {
		if _, err := os.Stat(program(s, name)); err == nil {
			continue
		}
		if err := ownHelper(s, binary, name); err != nil {
			return err
		}
	}
	return nil
}

// OtherBuild is a remark when the sandbox that runs was started by another file than this program, or empty.
func OtherBuild(s settings.Settings) string {
	binary, err := os.Executable()
	if err != nil {
		return ""
	}
	this, err := os.Stat(binary)
	running, problem := os.Stat(program(s, "sandbox"))
	if err != nil || problem != nil || os.SameFile(this, running) {
		return ""
	}
	return ", started by another build; `sandbox down` first to run this one"
}

// link makes a second name for a file, or a copy on another file system. An older file gives way.
func link(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Link(from, to); err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
