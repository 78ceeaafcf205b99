package registry

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// Claims is the part of a registry token that the sandbox reads back.
type Claims struct {
	ID      string `json:"jti"`
	Subject string `json:"sub"`           // name of the credential that it was given for
	Expires int64  `json:"sandbox_until"` // by the account's clock, in nanoseconds since 1970; `exp` is by the machine's
}

// gate takes expired tokens away from requests, so that the registry asks for a new one. The registry itself goes by
// the machine's clock and grants a minute of grace; the account's clock can be moved and grants none.
func gate(a *account.Account, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, ok := readClaims(r)
		if ok && claims.Expires != 0 && !a.Now().Before(time.Unix(0, claims.Expires)) {
			r.Header.Del("Authorization")
		}
		next.ServeHTTP(w, r)
	})
}

// readClaims reads the token of a request without verifying it: that is the registry's work.
func readClaims(r *http.Request) (claims Claims, ok bool) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(token, ".")
	if !found || len(parts) != 3 {
		return claims, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims, false
	}
	return claims, json.Unmarshal(payload, &claims) == nil
}

// recorded writes each request to the account's log, under the name of the service.
func recorded(a *account.Account, service string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := readClaims(r)
		path := r.URL.Path
		watched := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() { // also when the handler ends the connection by a panic
			a.Record(account.Request{
				Service: service, Method: r.Method, Path: path, Query: r.URL.RawQuery,
				Status: watched.status, Principal: claims.Subject,
			})
		}()
		next.ServeHTTP(watched, r)
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader is http.ResponseWriter's.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
