package cluster

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// mount makes the mount namespace the node's own. Some programs write to fixed places whatever their flags say
// (/var/lib/cni, /var/lib/kubelet/device-plugins, /var/log/containers, /run/containerd, /run/netns): those lie on memory
// here, so that nothing reaches the machine and two nodes never meet.
func (w world) mount() error {
	steps := []func() error{
		func() error { return mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "") },
		w.coverFixedPlaces,
		w.coverSysctls,
		// Volumes that the kubelet mounts must reach the containers.
		func() error { return mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "") },
		func() error { return unix.Sethostname([]byte(w.Hostname)) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// coverFixedPlaces keeps what is in /var/lib readable (an overlay), because iptables and CNI plugins may look there,
// and empties /run and /var/log. The state folder stays visible wherever it lies.
func (w world) coverFixedPlaces() error {
	state, err := os.Open(w.State)
	if err != nil {
		return err
	}
	defer state.Close()
	for _, place := range []string{"/run", "/var/log"} {
		if err := mount("tmpfs", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return err
		}
	}
	upper, work := "/run/sandbox/upper", "/run/sandbox/work"
	for _, folder := range []string{upper, work, "/run/netns"} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=/var/lib,upperdir=%s,workdir=%s", upper, work)
	if err := mount("overlay", "/var/lib", "overlay", 0, options); err != nil {
		return err
	}
	return w.uncover(state)
}

// uncover binds the state folder to its own path again, if one of the new mounts hides it.
func (w world) uncover(state *os.File) error {
	for _, place := range []string{"/run/", "/var/log/", "/var/lib/"} {
		if len(w.State) <= len(place) || w.State[:len(place)] != place {
			continue
		}
		if err := os.MkdirAll(w.State, 0o755); err != nil {
			return err
		}
		return mount(fmt.Sprintf("/proc/self/fd/%d", state.Fd()), w.State, "", unix.MS_BIND|unix.MS_REC, "")
	}
	return nil
}

// coverSysctls lays files over sysctls that the kubelet sets for the whole machine. The files hold the values it wants,
// so it finds nothing to change and the machine keeps its own.
func (w world) coverSysctls() error {
	for path, cover := range w.Sysctls {
		if _, err := os.Stat(path); err != nil {
			continue // this kernel does not have it, and then the kubelet does not set it
		}
		if err := mount(cover, path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// kubeletSysctls are the values that the kubelet demands:
// https://github.com/kubernetes/kubernetes/blob/v1.34.4/pkg/kubelet/cm/container_manager_linux.go (setupKernelTunables).
var kubeletSysctls = map[string]string{
	"/proc/sys/vm/overcommit_memory":      "1",
	"/proc/sys/vm/panic_on_oom":           "0",
	"/proc/sys/kernel/panic":              "10",
	"/proc/sys/kernel/panic_on_oops":      "1",
	"/proc/sys/kernel/keys/root_maxkeys":  "1000000",
	"/proc/sys/kernel/keys/root_maxbytes": "25000000",
}

// writeSysctlCovers writes the covering files into a folder and returns sysctl path to file.
func writeSysctlCovers(folder string) (map[string]string, error) {
	covers := map[string]string{}
	for path, value := range kubeletSysctls {
		file := filepath.Join(folder, filepath.Base(path))
		if err := writeFile(file, value+"\n"); err != nil {
			return nil, err
		}
		covers[path] = file
	}
	return covers, nil
}

// connect gives the network namespace loopback and the node's address. The address sits on a bridge without ports and
// the default route leads into it: the node needs both to start, and nothing leaves the machine.
func (w world) connect() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "node0"
	bridge := &netlink.Bridge{LinkAttrs: attributes}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("add the bridge node0: %w", err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(w.NodeIP), Mask: net.CIDRMask(24, 32)}}
	if err := netlink.AddrAdd(bridge, address); err != nil {
		return fmt.Errorf("give node0 the address %s: %w", w.NodeIP, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("set node0 up: %w", err)
	}
	route := &netlink.Route{LinkIndex: bridge.Index, Scope: netlink.SCOPE_LINK,
		Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("add the default route: %w", err)
	}
	return nil
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, target, err)
	}
	return nil
}
