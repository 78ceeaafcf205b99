package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

const containerdProgram = "/usr/bin/containerd"

// CheckMachine says everything that the machine lacks for a node, at once.
func CheckMachine() error {
	var missing []string
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		missing = append(missing, "linux on amd64 (this is "+runtime.GOOS+" on "+runtime.GOARCH+")")
	}
	if os.Geteuid() != 0 {
		missing = append(missing, "root (namespaces, mounts and cgroups of real pods need it)")
	}
	for _, file := range []string{containerdProgram, "/usr/lib/cni/bridge"} {
		if !exists(file) {
			missing = append(missing, file)
		}
	}
	for _, name := range []string{"runc", "ctr", "iptables", "conntrack"} {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return errors.Join(
		fmt.Errorf("a real node cannot run here; missing: %s", strings.Join(missing, ", ")),
		errors.New("on Debian: apt-get install --no-install-recommends containerd runc containernetworking-plugins iptables conntrack"))
}
