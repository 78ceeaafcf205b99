package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// makeCgroup makes the node's cgroup below the root of every hierarchy.
func makeCgroup(name string) error {
	var root unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &root); err != nil {
		return fmt.Errorf("look at %s: %w", cgroupRoot, err)
	}
	switch {
	case root.Type == unix.CGROUP2_SUPER_MAGIC:
		return makeUnifiedCgroup(name)
	case root.Type == unix.TMPFS_MAGIC && exists(filepath.Join(cgroupRoot, "memory", "tasks")):
		return makeSplitCgroup(name)
	default:
		return fmt.Errorf("%s is neither cgroup v2 nor a tmpfs with a v1 memory hierarchy: the node cannot run pods here", cgroupRoot)
	}
}

// makeSplitCgroup is for cgroup v1. A new cpuset holds no processor and no memory node until it is given some.
func makeSplitCgroup(name string) error {
	hierarchies, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		root := filepath.Join(cgroupRoot, hierarchy.Name())
		if hierarchy.Type()&os.ModeSymlink != 0 || !exists(filepath.Join(root, "cgroup.procs")) {
			continue
		}
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		for _, file := range []string{"cpuset.mems", "cpuset.cpus"} {
			if err := inherit(root, name, file); err != nil {
				return err
			}
		}
	}
	return nil
}

func inherit(root, name, file string) error {
	value, err := os.ReadFile(filepath.Join(root, file))
	if errors.Is(err, os.ErrNotExist) {
		return nil // not the cpuset hierarchy
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, name, file), bytes.TrimSpace(value), 0o644)
}

// makeUnifiedCgroup is for cgroup v2: the controllers that the kubelet asks for must be handed down from the root.
func makeUnifiedCgroup(name string) error {
	available, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var wanted []string
	for _, controller := range strings.Fields(string(available)) {
		if strings.Contains(" cpuset cpu io memory hugetlb pids ", " "+controller+" ") {
			wanted = append(wanted, "+"+controller)
		}
	}
	folder := filepath.Join(cgroupRoot, name)
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for _, parent := range []string{cgroupRoot, folder} {
		if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte(strings.Join(wanted, " ")), 0o644); err != nil {
			return fmt.Errorf("hand down the controllers %s: %w", strings.Join(wanted, " "), err)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
