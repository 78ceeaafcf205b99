package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// pauseImage holds a pod's namespaces open. It is also the empty image that CoreDNS runs in.
const pauseImage = "sandbox.local/pause:1"

// pauseCode is the whole pause program in x86-64 machine code. It ignores SIGCHLD, so that the kernel reaps whatever is
// orphaned to it, and then sleeps for ever:
//
//	mov edi, 17          ; SIGCHLD
//	lea rsi, [rip+24]    ; action
//	xor edx, edx         ; the old action is not wanted
//	mov r10d, 8          ; size of the signal mask
//	mov eax, 13          ; rt_sigaction
//	syscall
//	mov eax, 34          ; sleep: pause
//	syscall
//	jmp sleep
//	action: SIG_IGN, no flags, no restorer, empty mask
var pauseCode = []byte{
	0xbf, 0x11, 0x00, 0x00, 0x00,
	0x48, 0x8d, 0x35, 0x18, 0x00, 0x00, 0x00,
	0x31, 0xd2,
	0x41, 0xba, 0x08, 0x00, 0x00, 0x00,
	0xb8, 0x0d, 0x00, 0x00, 0x00,
	0x0f, 0x05,
	0xb8, 0x22, 0x00, 0x00, 0x00,
	0x0f, 0x05,
	0xeb, 0xf7,
	0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
}

// pauseProgram wraps the code in the smallest ELF file: a header and one loaded segment.
// Layout: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
func pauseProgram() []byte {
	const base, headers = 0x400000, 64 + 56
	var file bytes.Buffer
	put := func(values ...any) {
		for _, value := range values {
			// Writing fixed-size values to a buffer cannot fail.
			_ = binary.Write(&file, binary.LittleEndian, value)
		}
	}
	put([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9))                                 // 64 bits, little endian, version 1
	put(uint16(2), uint16(62), uint32(1))                                               // executable, x86-64, version 1
	put(uint64(base+headers), uint64(64), uint64(0), uint32(0))                         // entry, program headers, no sections
	put(uint16(64), uint16(56), uint16(1), uint16(64), uint32(0))                       // sizes; one program header
	put(uint32(1), uint32(5), uint64(0), uint64(base), uint64(base))                    // load, read and execute
	put(uint64(headers+len(pauseCode)), uint64(headers+len(pauseCode)), uint64(0x1000)) // sizes, alignment
	file.Write(pauseCode)
	return file.Bytes()
}

// writePauseImage writes the image as a tarball that containerd imports.
func writePauseImage(file string) error {
	var layer bytes.Buffer
	writer := tar.NewWriter(&layer)
	program := pauseProgram()
	if err := writer.WriteHeader(&tar.Header{Name: "pause", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return err
	}
	if _, err := writer.Write(program); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	opened, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, opened)
	if err != nil {
		return err
	}
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: "amd64", OS: "linux", RootFS: mustRootFS(image), Config: v1.Config{Entrypoint: []string{"/pause"}},
	})
	if err != nil {
		return err
	}
	return tarball.WriteToFile(file, name.MustParseReference(pauseImage), image)
}

func mustRootFS(image v1.Image) v1.RootFS {
	config, err := image.ConfigFile()
	if err != nil {
		return v1.RootFS{} // the next step on the image reports the same error
	}
	return config.RootFS
}

// importPause brings the pause image into containerd, as soon as that answers.
func (c Config) importPause(ctx context.Context) error {
	file := c.path("pause.tar")
	if err := writePauseImage(file); err != nil {
		return fmt.Errorf("write the pause image: %w", err)
	}
	for {
		output, err := c.ctr(ctx, "images", "import", file)
		if err == nil {
			return nil
		}
		if _, waiting := os.Stat(c.path("containerd.sock")); waiting == nil && !bytes.Contains(output, []byte("unavailable")) &&
			!bytes.Contains(output, []byte("refused")) {
			return fmt.Errorf("import the pause image: %w: %s", err, bytes.TrimSpace(output))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd did not answer: %w: %s", err, bytes.TrimSpace(output))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c Config) ctr(ctx context.Context, arguments ...string) ([]byte, error) {
	common := []string{"--address", c.path("containerd.sock"), "--namespace", "k8s.io", "--connect-timeout", "5s"}
	return exec.CommandContext(ctx, "ctr", append(common, arguments...)...).CombinedOutput()
}
