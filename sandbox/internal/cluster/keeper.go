package cluster

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keeper keeps programs running, and reaps every process of the node that lost its parent.
type keeper struct {
	tell    func(news)
	mu      sync.Mutex
	running map[int]*kept // by process id
	ends    chan os.Signal
}

// kept is one program and the pause before its next start.
type kept struct {
	program
	started time.Time
	pause   time.Duration
}

// A program that dies at once is started again ever more slowly; one that lived for calm starts at once.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	calm       = 10 * time.Second
)

func newKeeper(tell func(news)) *keeper {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGCHLD) // before the first start, so that no end is missed
	return &keeper{tell: tell, running: map[int]*kept{}, ends: ends}
}

func (k *keeper) keep(p program) { k.start(&kept{program: p, pause: firstPause}) }

// start holds the lock over fork and registration, so that reap never sees a process that it does not know yet.
func (k *keeper) start(p *kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	pid, err := p.fork()
	if err != nil {
		k.tell(news{Kind: newsFailed, Name: p.Name, Detail: err.Error()})
		return
	}
	p.started = time.Now()
	k.running[pid] = p
	k.tell(news{Kind: newsStarted, Name: p.Name, PID: pid})
}

func (p *kept) fork() (int, error) {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(p.Path, p.Args, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", p.Path, err)
	}
	return pid, nil
}

// reap waits for the ends of children for ever.
func (k *keeper) reap() {
	for range k.ends {
		k.collect()
	}
}

// collect takes every child that has ended: one signal may stand for many.
func (k *keeper) collect() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		k.mu.Lock()
		p := k.running[pid]
		delete(k.running, pid)
		k.mu.Unlock()
		if p != nil {
			k.tell(news{Kind: newsExited, Name: p.Name, PID: pid, Detail: describe(status)})
			k.again(p)
		}
	}
}

func (k *keeper) again(p *kept) {
	if time.Since(p.started) > calm {
		p.pause = firstPause
	}
	time.AfterFunc(p.pause, func() { k.start(p) })
	p.pause = min(2*p.pause, lastPause)
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}
