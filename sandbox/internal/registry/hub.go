package registry

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// HubUser is who may push to the registry that stands for Docker Hub.
const HubUser = "sandbox"

// HubFolder is where its images are: with the caches, so that they are made once for all sandboxes of a machine.
func HubFolder(s settings.Settings) string { return filepath.Join(s.Cache, "hub") }

// HubPassword is HubUser's password. It is made at the first call and kept in the state folder.
func HubPassword(s settings.Settings) (string, error) {
	path := s.Path("hub.password")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	password := make([]byte, 16)
	_, _ = rand.Read(password) // never fails: it ends the program instead
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.WriteString(hex.EncodeToString(password))
		err = errors.Join(err, file.Close())
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	data, err := os.ReadFile(path)
	return string(data), err
}

// NewHub is what stands for Docker Hub: anybody pulls, only HubUser pushes.
func NewHub(ctx context.Context, config Config) (http.Handler, error) {
	password, err := HubPassword(config.Settings)
	if err != nil {
		return nil, err
	}
	app, err := newApp(ctx, baseConfiguration(HubFolder(config.Settings)))
	if err != nil {
		return nil, err
	}
	return recorded(config.Account, "hub", readOnlyFor(password, app)), nil
}

// readOnlyFor lets only the holder of the password write.
func readOnlyFor(password string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, given, _ := r.BasicAuth()
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if reads || subtle.ConstantTimeCompare([]byte(given), []byte(password)) == 1 {
			next.ServeHTTP(w, r)
			return
		}
		discard(r)
		w.Header().Set("WWW-Authenticate", `Basic realm="Docker Hub of the sandbox"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"only the sandbox pushes to its Docker Hub"}]}`,
			http.StatusUnauthorized)
	})
}
