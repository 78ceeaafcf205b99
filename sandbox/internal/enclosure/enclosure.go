// Package enclosure runs one daemon in network, mount, process and IPC namespaces of its own, with a cable to the outside.
// In there Docker Hub's names lead to the sandbox's stand-in.
//
// The daemon sees the machine's files and reaches the package registries, but its interfaces, firewall rules, mounts and
// processes are its own: they end with process 1 of the enclosure, which ends with the program that opened it. What
// remains on the machine is one end of the cable, tagged firewall rules and cgroups; Close and Cleanup take them away.
package enclosure

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seaway-deploy/seaway/sandbox/internal/netns"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

//go:embed init.sh
var initScript string

// Config says whose enclosure it is.
type Config struct {
	Settings settings.Settings
	Name     string   // of the part, at most 8 letters; links, rules, cgroups and the state folder carry it
	Slot     int      // 0 to 63: which /30 of the sandbox's subnet the cable takes
	Command  []string // the daemon's command line; its output goes to Settings.Log(Name)
}

// Tag marks everything of this enclosure on the machine: the cgroup's name and the comment of the firewall rules.
func (c Config) Tag() string { return fmt.Sprintf("seaway-%d-%s", c.Settings.Number, c.Name) }

// link is the name of the cable's end on the machine; the kernel takes 15 letters.
func (c Config) link() string { return fmt.Sprintf("sw%d-%s", c.Settings.Number, c.Name) }

// folder is where this part writes.
func (c Config) folder(names ...string) string {
	return c.Settings.Path(append([]string{c.Name}, names...)...)
}

// Enclosure is a set of namespaces whose process 1 waits for Start.
type Enclosure struct {
	// Cable tells a daemon's configuration what the network can carry.
	Cable Cable

	config    Config
	process   *os.Process
	start     io.WriteCloser
	namespace *netns.Namespace
	hub       net.Listener // where Docker Hub's names lead to
	ended     chan struct{}
	err       error // why process 1 ended; valid once ended is closed
}

// Open makes the namespaces and plugs in the cable. Leftovers of an earlier run are removed first. The daemon does not
// run yet, so that listeners can be opened in Namespace and configuration can be written before it looks for them.
func Open(config Config) (*Enclosure, error) {
	if err := check(config); err != nil {
		return nil, err
	}
	if err := Cleanup(config); err != nil {
		return nil, err
	}
	if err := writeResolver(config.folder("resolv.conf")); err != nil {
		return nil, err
	}
	if err := leadHubHere(config); err != nil {
		return nil, fmt.Errorf("prepare the way to Docker Hub's stand-in for %s: %w", config.Name, err)
	}
	e := &Enclosure{config: config, ended: make(chan struct{})}
	if err := e.spawn(); err != nil {
		return nil, fmt.Errorf("make namespaces for %s: %w", config.Name, err)
	}
	if err := e.connect(); err != nil {
		return nil, errors.Join(fmt.Errorf("connect the namespaces of %s: %w", config.Name, err), e.Close(0))
	}
	return e, nil
}

// check refuses what would fail later with a riddle.
func check(config Config) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s needs root: namespaces, mounts and a cable are made for it", config.Name)
	}
	state := config.Settings.State
	if strings.HasPrefix(state, "/run/") || strings.HasPrefix(state, "/var/run/") {
		return fmt.Errorf("SANDBOX_STATE is %s: choose a folder outside of /run, which is private to each part", state)
	}
	for _, folder := range []string{config.folder(), filepath.Dir(config.Settings.Log(config.Name))} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// spawn starts process 1. The thread that starts it stays with it until it ends: the kernel sends the parent-death
// signal when that *thread* ends, and the runtime ends threads (netns.Do uses one up each time).
func (e *Enclosure) spawn() error {
	log, err := os.OpenFile(e.config.Settings.Log(e.config.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	script := e.config.folder("init.sh")
	if err := os.WriteFile(script, []byte(initScript), 0o644); err != nil {
		return err
	}
	arguments := append([]string{script, e.config.folder("resolv.conf"), e.config.folder("hosts")}, e.config.Command...)
	command := exec.Command("/bin/sh", arguments...)
	command.Env = append(os.Environ(), "SSL_CERT_FILE="+e.config.folder("authorities.crt"))
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL,
		Setsid:     true, // an interrupt at the terminal is for the supervisor, which stops its parts in order
	}
	if e.start, err = command.StdinPipe(); err != nil {
		return err
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			e.err = command.Wait()
			close(e.ended)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	e.process = command.Process
	return recordProcess(e.config.folder("init.pid"), e.process.Pid)
}

// connect plugs in the cable and opens the namespace.
func (e *Enclosure) connect() (err error) {
	if e.namespace, err = netns.OfProcess(e.process.Pid); err != nil {
		return err
	}
	if e.Cable, err = plug(e.config, e.process.Pid, e.namespace); err != nil {
		return err
	}
	return e.openHub()
}

// Namespace is the network the daemon lives in; valid until Close.
func (e *Enclosure) Namespace() *netns.Namespace { return e.namespace }

// CgroupParent is where the daemon shall put the cgroups of what it runs, as an absolute path below each hierarchy.
func (e *Enclosure) CgroupParent() string { return "/" + e.config.Tag() }

// Start lets process 1 run the daemon.
func (e *Enclosure) Start() error {
	if _, err := io.WriteString(e.start, "go\n"); err != nil {
		return fmt.Errorf("start %s: %w", e.config.Name, err)
	}
	return nil
}

// Serve starts the daemon, calls ready as soon as probe succeeds, and closes the enclosure when ctx ends. It returns
// an error when the daemon ends by itself. A daemon that is asked to end is given grace to do so.
func (e *Enclosure) Serve(ctx context.Context, grace time.Duration, probe func(context.Context) error, ready func()) error {
	if err := e.Start(); err != nil {
		return errors.Join(err, e.Close(0))
	}
	answered := make(chan struct{})
	probing, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		if poll(probing, probe) == nil {
			close(answered)
		}
	}()
	for {
		select {
		case <-answered:
			answered = nil
			ready()
		case <-ctx.Done():
			return e.Close(grace)
		case <-e.ended:
			err := fmt.Errorf("%s ended by itself (%v); its last words:\n%s", e.config.Name, e.err, lastWords(e.config.Settings.Log(e.config.Name)))
			return errors.Join(err, e.Close(0))
		}
	}
}

// poll calls probe until it succeeds or ctx ends.
func poll(ctx context.Context, probe func(context.Context) error) error {
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for probe(ctx) != nil {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// lastWords is the end of a log.
func lastWords(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// Close ends the daemon, first with a request and after grace for good, and removes what the enclosure left behind.
func (e *Enclosure) Close(grace time.Duration) error {
	if grace > 0 && e.process.Signal(syscall.SIGTERM) == nil {
		select {
		case <-e.ended:
		case <-time.After(grace):
		}
	}
	_ = e.process.Kill() // fails only when it has ended already
	<-e.ended
	_ = e.start.Close()
	if e.hub != nil {
		_ = e.hub.Close()
	}
	if e.namespace != nil {
		_ = e.namespace.Close()
	}
	return Cleanup(e.config)
}
