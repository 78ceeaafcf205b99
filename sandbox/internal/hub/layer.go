package hub

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// epoch stands for every time that lies in the making of an image: the day bookworm was released.
var epoch = time.Date(2023, 6, 10, 0, 0, 0, 0, time.UTC)

// writeLayer writes a folder as a gzipped tar archive that depends on nothing but the folder: entries sorted, owners as
// numbers, times from since on replaced by the epoch. Marks of an overlay file system become those of an image layer
// (https://github.com/opencontainers/image-spec/blob/main/layer.md#representing-changes). Devices are left out.
func writeLayer(folder, target string, since time.Time) (err error) {
	file, err := os.Create(target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	compressed, err := gzip.NewWriterLevel(file, gzip.BestSpeed)
	if err != nil {
		return err
	}
	layer := layerWriter{archive: tar.NewWriter(compressed), folder: folder, since: since, links: map[uint64]string{}}
	if err := filepath.WalkDir(folder, layer.add); err != nil {
		return fmt.Errorf("write the layer of %s: %w", folder, err)
	}
	return errors.Join(layer.archive.Close(), compressed.Close())
}

// layerWriter is the state of one writeLayer.
type layerWriter struct {
	archive *tar.Writer
	folder  string
	since   time.Time
	links   map[uint64]string // first name of each file that has several, by its inode
}

// add writes one file.
func (l *layerWriter) add(path string, entry fs.DirEntry, err error) error {
	name, relativeErr := filepath.Rel(l.folder, path)
	if err = errors.Join(err, relativeErr); err != nil || name == "." {
		return err
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	status := info.Sys().(*syscall.Stat_t)
	if info.Mode()&fs.ModeCharDevice != 0 && status.Rdev == 0 {
		return l.mark(filepath.Join(filepath.Dir(name), ".wh."+filepath.Base(name)))
	}
	if info.Mode()&(fs.ModeDevice|fs.ModeSocket|fs.ModeNamedPipe) != 0 {
		return nil
	}
	header, err := l.header(path, name, info, status)
	if err != nil {
		return err
	}
	if err := l.archive.WriteHeader(header); err != nil {
		return err
	}
	if header.Typeflag == tar.TypeReg {
		return l.content(path)
	}
	if info.IsDir() && attribute(path, "trusted.overlay.opaque") == "y" {
		return l.mark(filepath.Join(name, ".wh..wh..opq"))
	}
	return nil
}

// mark writes an empty file that tells what the layer hides.
func (l *layerWriter) mark(name string) error {
	return l.archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: epoch, Format: tar.FormatPAX})
}

// header describes one file, as a link to an earlier one if it is the same.
func (l *layerWriter) header(path, name string, info fs.FileInfo, status *syscall.Stat_t) (*tar.Header, error) {
	var target string
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	header.Name = name
	if info.IsDir() {
		header.Name += "/"
	}
	header.Uname, header.Gname = "", ""
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	header.ModTime = header.ModTime.Truncate(time.Second)
	if !header.ModTime.Before(l.since.Truncate(time.Second)) {
		header.ModTime = epoch
	}
	header.Format = tar.FormatPAX
	if value := attribute(path, "security.capability"); value != "" && info.Mode().IsRegular() {
		header.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": value}
	}
	if info.Mode().IsRegular() && status.Nlink > 1 {
		if first, seen := l.links[status.Ino]; seen {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
		} else {
			l.links[status.Ino] = name
		}
	}
	return header, nil
}

// content writes the bytes of a file.
func (l *layerWriter) content(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(l.archive, file)
	return err
}

// attribute is an extended attribute of a file, without following links; empty when there is none.
func attribute(path, name string) string {
	buffer := make([]byte, 256)
	size, err := unix.Lgetxattr(path, name, buffer)
	if err != nil {
		return ""
	}
	return strings.Clone(string(buffer[:size]))
}
