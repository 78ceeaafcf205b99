package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// workshop makes images out of Debian packages in a folder of its own. It needs root and debootstrap.
type workshop struct {
	folder      string
	authorities []string
	log         *slog.Logger
	started     time.Time // what is younger than this gets the epoch as its time
}

// openWorkshop clears the folder of what an interrupted run left and prepares it.
func openWorkshop(folder string, authorities []string, log *slog.Logger) (*workshop, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("making the Docker Hub images needs root: debootstrap changes into them")
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return nil, errors.New("debootstrap is not installed: `apt-get install --no-install-recommends debootstrap`")
	}
	if err := os.RemoveAll(folder); err != nil {
		return nil, err
	}
	w := &workshop{folder, authorities, log, time.Now()}
	if err := writeAuthorities(filepath.Join(folder, "authorities"), authorities); err != nil {
		return nil, err
	}
	script, err := files.ReadFile("step.sh")
	if err != nil {
		return nil, err
	}
	return w, os.WriteFile(w.path("step.sh"), script, 0o644)
}

// path is a place in the workshop.
func (w *workshop) path(names ...string) string {
	return filepath.Join(append([]string{w.folder}, names...)...)
}

// close removes the workshop.
func (w *workshop) close() error { return os.RemoveAll(w.folder) }

// makeBase makes the base image's files and returns its layer, as a file.
func (w *workshop) makeBase(ctx context.Context) (string, error) {
	if err := w.step(ctx, base); err != nil {
		return "", err
	}
	layer := w.path(base.Name + ".tar.gz")
	return layer, writeLayer(w.path(base.Name, "root"), layer, w.started)
}

// takeBase unpacks the base image's files from its layer, which an earlier run made.
func (w *workshop) takeBase(ctx context.Context, layer v1.Layer) error {
	root := w.path(base.Name, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer content.Close()
	command := exec.CommandContext(ctx, "tar", "--extract", "--numeric-owner", "--xattrs", "--directory", root)
	command.Stdin = content
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("unpack the base image: %w: %s", err, output)
	}
	return nil
}

// makeLayer makes what an image adds to the base, or all of an image that has none, and returns it as a file.
func (w *workshop) makeLayer(ctx context.Context, r recipe) (string, error) {
	if err := w.step(ctx, r); err != nil {
		return "", err
	}
	layer := w.path(r.Name + ".tar.gz")
	return layer, writeLayer(w.path(r.Name, "layer", r.Only), layer, w.started)
}

// step runs step.sh for one image. Killing the program that runs this ends the step and all that it mounted.
func (w *workshop) step(ctx context.Context, r recipe) error {
	if err := r.unpack(w.path(r.Name, "files")); err != nil {
		return err
	}
	for _, file := range r.Fetched {
		if err := file.fetch(ctx, w.path(r.Name, "files", "root")); err != nil {
			return fmt.Errorf("fetch what %s needs: %w", r, err)
		}
	}
	journal := w.path(r.Name + ".log")
	output, err := os.Create(journal)
	if err != nil {
		return err
	}
	defer output.Close()
	// The kernel sends the parent-death signal when the thread that started the process ends: hold it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command := exec.CommandContext(ctx, "/bin/sh", append([]string{w.path("step.sh"), w.folder, r.Name}, r.Packages...)...)
	command.Env = append(os.Environ(), "MIRROR="+mirror, "SECURITY_MIRROR="+securityMirror, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch.Unix()))
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	begun := time.Now()
	if err := command.Run(); err != nil {
		return fmt.Errorf("make %s: %w; its last words:\n%s", r, errors.Join(err, ctx.Err()), lastLines(journal, 12))
	}
	w.log.Info("made the files of an image", "image", r.String(), "seconds", time.Since(begun).Round(time.Second/10).Seconds())
	return nil
}

// lastLines is the end of a file.
func lastLines(path string, count int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
