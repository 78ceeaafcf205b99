package hub

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"sort"
)

// Where Debian keeps certificates: the bundle that programs read, and what the package ca-certificates brought.
const (
	machineBundle   = "/etc/ssl/certs/ca-certificates.crt"
	packagedFolders = "/usr/share/ca-certificates/mozilla/*.crt"
)

// ownAuthorities are the certificates in the machine's bundle that no package brought, as PEM, sorted. A company
// network, or any proxy that looks into connections, has one; images without it could not reach the package registries.
func ownAuthorities(bundle, packaged string) ([]string, error) {
	text, err := os.ReadFile(bundle)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // a machine without authorities has none of its own
	}
	if err != nil {
		return nil, err
	}
	known, err := filepath.Glob(packaged)
	if err != nil {
		return nil, err
	}
	common := map[string]bool{}
	for _, file := range known {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, block := range blocks(content) {
			common[string(block.Bytes)] = true
		}
	}
	var own []string
	for _, block := range blocks(text) {
		if !common[string(block.Bytes)] {
			own = append(own, string(pem.EncodeToMemory(block)))
			common[string(block.Bytes)] = true
		}
	}
	sort.Strings(own)
	return own, nil
}

// blocks are the certificates of a PEM text.
func blocks(text []byte) (all []*pem.Block) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return all
		}
		if block.Type == "CERTIFICATE" {
			all = append(all, &pem.Block{Type: block.Type, Bytes: block.Bytes})
		}
		text = rest
	}
}

// writeAuthorities puts each certificate into a file of its own, as update-ca-certificates wants them.
func writeAuthorities(folder string, certificates []string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, certificate := range certificates {
		sum := sha256.Sum256([]byte(certificate))
		name := "machine-" + hex.EncodeToString(sum[:6]) + ".crt"
		if err := os.WriteFile(filepath.Join(folder, name), []byte(certificate), 0o644); err != nil {
			return err
		}
	}
	return nil
}
