// Package pki is the sandbox's own certificate authority: one ECDSA key that signs the cluster's certificates, the https
// certificate of the emulated DigitalOcean API and registry tokens. It is worth nothing outside of the sandbox.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// validity is how long every certificate lasts: longer than any sandbox.
const validity = 365 * 24 * time.Hour

// Authority signs certificates.
type Authority struct {
	Certificate *x509.Certificate
	Key         *ecdsa.PrivateKey
	PEM         []byte // the certificate
}

// Leaf says who a certificate is for. It serves and it authenticates a client.
type Leaf struct {
	Name          string   // the common name: for Kubernetes, the user
	Organizations []string // for Kubernetes, the user's groups
	Hosts         []string // DNS names and literal IP addresses that it may serve
}

// Load reads the sandbox's authority, and makes it first if there is none. A file lock keeps two callers from making two.
func Load(s settings.Settings) (*Authority, error) {
	folder := filepath.Dir(s.CAKey())
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer lock.Close() // gives the lock back
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	if _, err := os.Stat(s.CACertificate()); errors.Is(err, os.ErrNotExist) {
		if err := create(s); err != nil {
			return nil, fmt.Errorf("make the sandbox's certificate authority: %w", err)
		}
	}
	return read(s)
}

func create(s settings.Settings) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "Seaway sandbox"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return err
	}
	// The key first: whoever finds the certificate finds both.
	if err := os.WriteFile(s.CAKey(), encoded, 0o600); err != nil {
		return err
	}
	return os.WriteFile(s.CACertificate(), encodeCertificate(der), 0o644)
}

func read(s settings.Settings) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(s.CACertificate(), s.CAKey())
	if err != nil {
		return nil, fmt.Errorf("read the sandbox's certificate authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s does not hold an ECDSA key", s.CAKey())
	}
	return &Authority{Certificate: pair.Leaf, Key: key, PEM: encodeCertificate(pair.Certificate[0])}, nil
}

// Issue signs a certificate for the leaf and returns it and its key as PEM.
func (a *Authority) Issue(leaf Leaf) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template, err := leaf.template()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, private.Public(), a.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", leaf.Name, err)
	}
	key, err = encodeKey(private)
	return encodeCertificate(der), key, err
}

func (l Leaf) template() (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: l.Name, Organization: l.Organizations},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range l.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template, nil
}

// KeyPair makes an ECDSA key and returns both halves as PEM. Service account tokens are signed so.
func KeyPair() (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	private, err = encodeKey(key)
	return private, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
