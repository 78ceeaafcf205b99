package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// quiet discards what parts log.
var quiet = slog.New(slog.DiscardHandler)

// serving is a part that is ready at once and ends with its context.
func serving(name string, needs ...string) Part {
	return Part{Name: name, Needs: needs, Run: func(ctx context.Context, ready func(string)) error {
		ready("at " + name)
		<-ctx.Done()
		return nil
	}}
}

// settle runs parts until nothing is on its way any more, and gives their states.
func settle(t *testing.T, parts ...Part) map[string]Status {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	board, ended := newBoard(), make(chan struct{})
	all := newRunner(ctx, board, quiet)
	all.start(parts)
	go func() { all.wait(); close(ended) }()
	states := map[string]Status{}
	for {
		all, changed := board.snapshot()
		if settled, _ := Settled(all); settled && len(all) == len(parts) {
			for _, status := range all {
				states[status.Part] = status
			}
			break
		}
		<-changed
	}
	cancel()
	<-ended
	return states
}

func TestPartsStartWhenTheirNeedsAreReady(t *testing.T) {
	ready := make(chan string, 2)
	noted := func(name string, needs ...string) Part {
		part := serving(name, needs...)
		run := part.Run
		part.Run = func(ctx context.Context, announce func(string)) error {
			ready <- name
			return run(ctx, announce)
		}
		return part
	}
	states := settle(t, noted("second", "first"), noted("first"))
	if first := <-ready; first != "first" {
		t.Errorf("%s started before what it needs", first)
	}
	if states["second"].State != Ready || states["second"].Detail != "at second" {
		t.Errorf("second is %+v", states["second"])
	}
}

func TestFailedPartFailsItsDependents(t *testing.T) {
	broken := Part{Name: "broken", Run: func(context.Context, func(string)) error { return errors.New("no disk") }}
	crashing := Part{Name: "crashing", Run: func(context.Context, func(string)) error { panic("nil map") }}
	later := serving("later")
	later.After = []string{"broken", "not chosen"}
	states := settle(t, broken, crashing, serving("dependent", "broken"), serving("other"), later)
	for part, want := range map[string]string{"broken": Failed, "crashing": Failed, "dependent": Failed, "later": Ready, "other": Ready} {
		if states[part].State != want {
			t.Errorf("%s is %s, want %s", part, states[part].State, want)
		}
	}
	if got := states["dependent"].Detail; got != "it needs broken, which failed" {
		t.Errorf("dependent says %q", got)
	}
	if states["broken"].Detail != "no disk" || !strings.Contains(states["crashing"].Detail, "nil map") {
		t.Errorf("causes: %q, %q", states["broken"].Detail, states["crashing"].Detail)
	}
}

func TestPartsAreAddedToThoseThatRun(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	board := newBoard()
	all := newRunner(ctx, board, quiet)
	starts := make(chan string, 8)
	counted := func(part Part) Part {
		run := part.Run
		part.Run = func(ctx context.Context, ready func(string)) error {
			starts <- part.Name
			return run(ctx, ready)
		}
		return part
	}
	broken := Part{Name: "broken", Run: func(context.Context, func(string)) error { return errors.New("not built") }}
	settled := func() map[string]string {
		for {
			statuses, changed := board.snapshot()
			if done, _ := Settled(statuses); done {
				states := map[string]string{}
				for _, status := range statuses {
					states[status.Part] = status.State
				}
				return states
			}
			<-changed
		}
	}
	all.start([]Part{counted(serving("first")), counted(broken)})
	if states := settled(); states["broken"] != Failed {
		t.Errorf("broken is %s", states["broken"])
	}
	mended := counted(serving("broken"))
	all.start([]Part{counted(serving("first")), counted(serving("second", "first")), mended})
	states := settled()
	if states["first"] != Ready || states["second"] != Ready || states["broken"] != Ready {
		t.Errorf("got %v", states)
	}
	cancel()
	all.wait()
	close(starts)
	times := map[string]int{}
	for name := range starts {
		times[name]++
	}
	if times["first"] != 1 || times["second"] != 1 || times["broken"] != 2 {
		t.Errorf("started %v", times)
	}
}

func TestChoose(t *testing.T) {
	companion := serving("companion", "cluster")
	companion.With, companion.After = "cluster", []string{"api", "ingress"}
	extra := serving("scale", "cluster")
	extra.Extra = true
	all := []Part{serving("cluster"), serving("api"), serving("ingress", "cluster"), extra, companion}
	for choice, want := range map[string]string{
		"":          "cluster api ingress companion",
		"api":       "api",
		"ingress":   "cluster ingress companion",
		"api,scale": "cluster api scale companion",
		"all,scale": "cluster api ingress scale companion",
	} {
		var names []string
		if choice != "" {
			names = strings.Split(choice, ",")
		}
		chosen, err := Choose(all, names)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, part := range chosen {
			got = append(got, part.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q chooses %v, want %s", choice, got, want)
		}
	}
	if _, err := Choose(all, []string{"clutser"}); err == nil || !strings.Contains(err.Error(), "cluster, api") {
		t.Errorf("an unknown part: %v", err)
	}
}
