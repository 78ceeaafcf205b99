package cleanup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const cgroupRoot = "/sys/fs/cgroup"

// removeCgroups removes the cgroup of this name from every hierarchy, innermost first. The kernel may take a moment to
// notice that the processes are gone.
func removeCgroups(name string) error {
	return eventually(func() (bool, error) {
		err := removeCgroupsOnce(name)
		return err == nil, err
	})
}

func removeCgroupsOnce(name string) error {
	roots, err := filepath.Glob(filepath.Join(cgroupRoot, "*", name))
	if err != nil {
		return err
	}
	var problems []error
	for _, root := range append(roots, filepath.Join(cgroupRoot, name)) {
		for _, folder := range slices.Backward(foldersBelow(root)) {
			if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
				problems = append(problems, fmt.Errorf("remove the cgroup %s: %w", folder, err))
			}
		}
	}
	return errors.Join(problems...)
}

// foldersBelow lists a folder and all below it, outermost first. What disappears meanwhile is not listed.
func foldersBelow(root string) []string {
	var folders []string
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	return folders
}
