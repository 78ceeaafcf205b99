// Package supervisor runs the parts of a sandbox side by side and tells how they are.
//
// It is one background process. The emulated parts run inside it, the real ones are its children and end with it.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Part is something that serves until its context ends.
type Part struct {
	Name  string
	Needs []string // parts that must be ready before this one starts; choosing this one chooses them
	After []string // parts that must be ready before this one starts, if they were chosen
	With  string   // the part that brings this one along when it is chosen
	Extra bool     // runs only when it is chosen by name
	// Run serves until ctx ends and calls ready once it serves.
	Run func(ctx context.Context, ready func(detail string)) error
}

// grace is how long parts may take to end when they are told to. What does not end is killed with the supervisor.
const grace = 3 * time.Second

// runner runs parts beside each other until its context ends.
type runner struct {
	ctx   context.Context
	board *Board
	log   *slog.Logger

	mu    sync.Mutex
	gates map[string]*gate
	all   sync.WaitGroup
}

func newRunner(ctx context.Context, board *Board, log *slog.Logger) *runner {
	return &runner{ctx: ctx, board: board, log: log, gates: map[string]*gate{}}
}

// start starts those of the parts that do not run, each as soon as those that it needs are ready. A part that fails is told
// on the board; the others go on, so that people can look at what is left.
func (r *runner) start(parts []Part) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return
	}
	var fresh []Part
	for _, part := range parts {
		if old := r.gates[part.Name]; old != nil && !old.hasFailed() {
			continue
		}
		r.gates[part.Name] = &gate{ready: make(chan struct{}), failed: make(chan struct{})}
		r.board.set(part.Name, Waiting, "")
		fresh = append(fresh, part)
	}
	gates := maps.Clone(r.gates)
	for _, part := range fresh {
		r.all.Go(func() { runOne(r.ctx, part, r.board, r.log, gates) })
	}
}

// wait returns when the context has ended and all parts too.
func (r *runner) wait() {
	<-r.ctx.Done()
	r.mu.Lock() // nothing is started any more
	defer r.mu.Unlock()
	ended := make(chan struct{})
	go func() { r.all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(grace):
		r.log.Error("parts do not end when told to", "parts", r.board.unfinished())
	}
}

// gate is what other parts wait at. At most one of its channels is ever closed.
type gate struct{ ready, failed chan struct{} }

// hasFailed tells whether the part has failed before it was ready.
func (g *gate) hasFailed() bool {
	select {
	case <-g.failed:
		return true
	default:
		return false
	}
}

// await waits for what a part needs, and for what it comes after if that was chosen. What it only comes after may fail.
func await(ctx context.Context, part Part, gates map[string]*gate) error {
	for _, name := range slices.Concat(part.Needs, part.After) {
		if gates[name] == nil {
			continue // not chosen
		}
		select {
		case <-gates[name].ready:
		case <-gates[name].failed:
			if slices.Contains(part.Needs, name) {
				return fmt.Errorf("it needs %s, which failed", name)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// runOne waits for its turn, runs a part to its end and tells the board.
func runOne(ctx context.Context, part Part, board *Board, log *slog.Logger, gates map[string]*gate) {
	var opened sync.Once
	err := await(ctx, part, gates)
	if err == nil {
		board.set(part.Name, Starting, "")
		err = guard(func() error {
			return part.Run(ctx, func(detail string) {
				board.set(part.Name, Ready, detail)
				opened.Do(func() { close(gates[part.Name].ready) })
			})
		})
		if err == nil && ctx.Err() == nil {
			err = errors.New("it ended by itself")
		}
	}
	if ctx.Err() != nil {
		if err != nil && !errors.Is(err, ctx.Err()) {
			log.Error("part ended badly", "part", part.Name, "cause", err)
		}
		board.set(part.Name, Stopped, "")
		return
	}
	log.Error("part failed", "part", part.Name, "cause", err)
	board.set(part.Name, Failed, err.Error())
	opened.Do(func() { close(gates[part.Name].failed) })
}

// guard turns a panic of a part into its failure: one part must not take the others with it.
func guard(run func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return run()
}

// Choose keeps the named parts and everything that they need. The name "all", and no name, stand for all but the extra ones.
func Choose(parts []Part, names []string) ([]Part, error) {
	byName := map[string]Part{}
	known := make([]string, 0, len(parts))
	var ordinary []string
	for _, part := range parts {
		byName[part.Name] = part
		known = append(known, part.Name)
		if !part.Extra {
			ordinary = append(ordinary, part.Name)
		}
	}
	if len(names) == 0 || slices.Contains(names, "all") {
		names = slices.DeleteFunc(slices.Concat(names, ordinary), func(name string) bool { return name == "all" })
	}
	wanted := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		part, found := byName[name]
		if !found {
			return fmt.Errorf("no part is called %q: choose from %s", name, strings.Join(known, ", "))
		}
		wanted[name] = true
		var problems []error
		for _, need := range part.Needs {
			problems = append(problems, add(need))
		}
		return errors.Join(problems...)
	}
	for _, name := range names {
		if err := add(strings.TrimSpace(name)); err != nil {
			return nil, err
		}
	}
	var chosen []Part
	for _, part := range parts {
		if wanted[part.Name] || wanted[part.With] {
			chosen = append(chosen, part)
		}
	}
	return chosen, nil
}

// The states of a part.
const (
	Waiting  = "waiting" // for another part
	Starting = "starting"
	Ready    = "ready"
	Failed   = "failed"
	Stopped  = "stopped"
)

// Status is how a part is.
type Status struct {
	Part    string        `json:"part"`
	State   string        `json:"state"`
	Detail  string        `json:"detail,omitempty"`
	Elapsed time.Duration `json:"elapsed_ns"` // from the start of the sandbox to this state
}
