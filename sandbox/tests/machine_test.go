package tests

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// machine is everything that a sandbox could leave on the machine, a line a thing.
type machine []string

// look lists mounts, links, firewall rules, cgroups, named network namespaces, processes of sandboxes, and the fixed
// places that container programs write to.
func look(t *testing.T) machine {
	t.Helper()
	var all machine
	all = append(all, prefixed("mount", lines(read(t, "/proc/self/mounts")))...)
	all = append(all, prefixed("link", links(t))...)
	all = append(all, prefixed("rule", rules(t))...)
	all = append(all, prefixed("cgroup", folders("/sys/fs/cgroup"))...)
	all = append(all, prefixed("process", processes())...)
	for _, place := range []string{"/run/netns", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log", "/var/lib",
		"/usr/libexec", "/run", "/opt"} {
		all = append(all, prefixed("in "+place, entries(place))...)
	}
	all = append(all, prefixed("sysctl", []string{
		read(t, "/proc/sys/vm/overcommit_memory"), read(t, "/proc/sys/kernel/panic"), read(t, "/proc/sys/net/ipv4/ip_forward"),
	})...)
	slices.Sort(all)
	return all
}

// ofOthers matches what other sandboxes of the machine come and go with.
var ofOthers = regexp.MustCompile(`\bsw(\d+)-|seaway-(?:sandbox-)?(\d+)\b`)

// settling is how long a difference must last: other programs of the machine come and go while a test runs.
const settling = 15 * time.Second

// requireSame fails with the differences that stay, but for those of sandboxes with other numbers, which may be at work beside.
func (before machine) requireSame(t *testing.T, number int) {
	t.Helper()
	deadline := time.Now().Add(settling)
	differences := before.differences(look(t), number)
	for len(differences) > 0 && time.Now().Before(deadline) {
		time.Sleep(settling / 30)
		differences = before.differences(look(t), number)
	}
	if len(differences) > 0 {
		t.Errorf("the machine is not as it was:\n%s", strings.Join(differences, "\n"))
	}
}

// differences are the lines that came and went and may be of the sandbox with this number.
func (before machine) differences(after machine, number int) []string {
	var differences []string
	for _, line := range after {
		if !slices.Contains(before, line) && !anothers(line, number) && !before.hosts(line) {
			differences = append(differences, "+ "+line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) && !anothers(line, number) && !after.hosts(line) {
			differences = append(differences, "- "+line)
		}
	}
	return differences
}

// hosts tells whether a line is a cgroup right below one that somebody else keeps in the root of its hierarchy. A sandbox
// makes its cgroups in the root itself, or deeper inside of those that it was started in.
func (other machine) hosts(line string) bool {
	path, isCgroup := strings.CutPrefix(line, "cgroup /sys/fs/cgroup/")
	parts := strings.Split(path, "/")
	return isCgroup && len(parts) == 3 && !strings.Contains(parts[1], "seaway") &&
		slices.Contains(other, "cgroup /sys/fs/cgroup/"+parts[0]+"/"+parts[1])
}

func anothers(line string, number int) bool {
	found := ofOthers.FindStringSubmatch(line)
	return found != nil && found[1]+found[2] != strconv.Itoa(number)
}

func links(t *testing.T) []string {
	names := entries("/sys/class/net")
	for i, name := range names {
		if target, err := filepath.EvalSymlinks(filepath.Join("/sys/class/net", name, "master")); err == nil {
			names[i] = name + " of " + filepath.Base(target)
		}
	}
	return names
}

// rules are the firewall's, without counters and comments of the time.
func rules(t *testing.T) []string {
	t.Helper()
	output, err := exec.Command("iptables-save").Output()
	if err != nil {
		t.Fatalf("iptables-save: %v", err)
	}
	counters := regexp.MustCompile(`\[\d+:\d+\]`)
	return slices.DeleteFunc(lines(string(counters.ReplaceAll(output, nil))), func(line string) bool { return strings.HasPrefix(line, "#") })
}

// ofNumber tells whose a process is: by its environment, or for one of a container by its cgroup.
var ofNumber = regexp.MustCompile(`SANDBOX_NUMBER=(\d+)|seaway-(?:sandbox-)?(\d+)\b`)

// processes are those that carry a sandbox's mark or live in a network of their own, named without their ids.
func processes() []string {
	own, _ := os.Readlink("/proc/self/ns/net")
	var found []string
	for pid, line := range commandLines() {
		environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		network, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		if !bytes.Contains(environment, []byte("SANDBOX_PROCESS=1")) && (err != nil || network == own) {
			continue
		}
		cgroup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if number := ofNumber.FindSubmatch(append(environment, cgroup...)); number != nil {
			line = fmt.Sprintf("seaway-sandbox-%s%s: %s", number[1], number[2], line)
		}
		found = append(found, line)
	}
	return found
}

// commandLines are all processes of the machine but the kernel's and the dead.
func commandLines() map[int]string {
	found := map[int]string{}
	for _, name := range entries("/proc") {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && len(text) > 0 {
			found[pid] = strings.ReplaceAll(strings.Trim(string(text), "\x00"), "\x00", " ")
		}
	}
	return found
}

func folders(root string) []string {
	var found []string
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			found = append(found, path)
		}
		return nil
	})
	return found
}

// entries is what a folder holds; a folder that is not there holds nothing.
func entries(folder string) []string {
	list, _ := os.ReadDir(folder)
	names := make([]string, 0, len(list))
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

func prefixed(prefix string, names []string) []string {
	for i, name := range names {
		names[i] = prefix + " " + name
	}
	return names
}
