// Package pki is the sandbox's own certificate authority: one ECDSA key that signs the cluster's certificates and the
// https certificate of the emulated DigitalOcean API. It is made anew with every sandbox and worth nothing outside.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity is how long every certificate lasts: longer than any sandbox.
const validity = 365 * 24 * time.Hour

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// PEM is the authority's certificate.
	PEM []byte
}

// Leaf says who a certificate is for. Client certificates need only the names of Subject.
type Leaf struct {
	CommonName    string
	Organizations []string
	Names         []string // DNS names
	Addresses     []string // literal IP addresses
}

// Create makes an authority and writes its certificate and key.
func Create(certificateFile, keyFile string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
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
		return nil, err
	}
	if err := write(certificateFile, keyFile, der, key); err != nil {
		return nil, err
	}
	return Load(certificateFile, keyFile)
}

// Load reads an authority that Create wrote.
func Load(certificateFile, keyFile string) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("load the sandbox's certificate authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s does not hold an ECDSA key", keyFile)
	}
	return &Authority{certificate, key, encodeCertificate(pair.Certificate[0])}, nil
}

// Issue signs a certificate for the leaf and writes it with its key.
func (a *Authority) Issue(leaf Leaf, certificateFile, keyFile string) error {
	der, key, err := a.sign(leaf)
	if err != nil {
		return err
	}
	return write(certificateFile, keyFile, der, key)
}

// Certificate signs a certificate for the leaf and returns it ready for a server.
func (a *Authority) Certificate(leaf Leaf) (tls.Certificate, error) {
	der, key, err := a.sign(leaf)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Pair signs a certificate for the leaf and returns it and its key as PEM.
func (a *Authority) Pair(leaf Leaf) (certificate, key []byte, err error) {
	der, private, err := a.sign(leaf)
	if err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(private)
	return encodeCertificate(der), key, err
}

func (a *Authority) sign(leaf Leaf) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: leaf.CommonName, Organization: leaf.Organizations},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     leaf.Names,
	}
	for _, address := range leaf.Addresses {
		ip := net.ParseIP(address)
		if ip == nil {
			return nil, nil, fmt.Errorf("certificate %s: %q is not an IP address", leaf.CommonName, address)
		}
		template.IPAddresses = append(template.IPAddresses, ip)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	return der, key, err
}

// WriteKeyPair makes an ECDSA key and writes it twice: private and public half. Service account tokens are signed so.
func WriteKeyPair(privateFile, publicFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := writeFile(privateFile, private, 0o600); err != nil {
		return err
	}
	return writeFile(publicFile, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644)
}

func write(certificateFile, keyFile string, der []byte, key *ecdsa.PrivateKey) error {
	encoded, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := writeFile(keyFile, encoded, 0o600); err != nil {
		return err
	}
	return writeFile(certificateFile, encodeCertificate(der), 0o644)
}

func writeFile(name string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, content, mode)
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
