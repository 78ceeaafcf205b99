package digitalocean

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// call is one request on its way through the API.
type call struct {
	request *http.Request
	token   account.Token
	body    []byte
	note    string // for the request log
}

// path is a wildcard of the route, decoded.
func (c *call) path(name string) string { return c.request.PathValue(name) }

// query is a parameter of the address, or "".
func (c *call) query(name string) string { return c.request.URL.Query().Get(name) }

// seconds reads a parameter that is a number of seconds; absent or 0 is otherwise.
func (c *call) seconds(name string, otherwise time.Duration) (time.Duration, error) {
	text := c.query(name)
	if text == "" || text == "0" {
		return otherwise, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 0 {
		return 0, unprocessable("%s must be a number of seconds, not %q", name, text)
	}
	return time.Duration(seconds) * time.Second, nil
}

// decode reads the body of a write.
func (c *call) decode(into any) error {
	if err := json.Unmarshal(c.body, into); err != nil {
		return &failure{http.StatusBadRequest, "bad_request", fmt.Sprintf("unable to parse the request's JSON: %v", err)}
	}
	return nil
}

// reply is an answer that is not a failure.
type reply struct {
	status int
	body   any // JSON; text stays as it is; nil: none
}

// text is a body of another type than JSON.
type text struct{ contentType, content string }

// ok, created, accepted and gone are the usual answers.
func ok(body any) (reply, error)       { return reply{http.StatusOK, body}, nil }
func created(body any) (reply, error)  { return reply{http.StatusCreated, body}, nil }
func accepted(body any) (reply, error) { return reply{http.StatusAccepted, body}, nil }
func gone() (reply, error)             { return reply{http.StatusNoContent, nil}, nil }

// root wraps a value in the key that DigitalOcean puts around it.
func root(key string, value any) map[string]any { return map[string]any{key: value} }

// failure is an answer that tells what is wrong.
type failure struct {
	status  int
	id      string
	message string
}

// Error is the message for the log.
func (f *failure) Error() string { return f.message }

// The usual failures.
var (
	errUnauthorized = &failure{http.StatusUnauthorized, "unauthorized", "Unable to authenticate you"}
	errForbidden    = &failure{http.StatusForbidden, "forbidden", "You do not have access for the attempted action."}
	errNotFound     = &failure{http.StatusNotFound, "not_found", "The resource you were accessing could not be found."}
	errServer       = &failure{http.StatusInternalServerError, "server_error", "Unexpected server-side error"}
)

// unprocessable is a 422 with its reason.
func unprocessable(format string, arguments ...any) error {
	return &failure{http.StatusUnprocessableEntity, "unprocessable_entity", fmt.Sprintf(format, arguments...)}
}

// readBody reads the body of a write, and gives it for the log too, shortened.
func readBody(r *http.Request) ([]byte, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, nil
	}
	const limit = 1 << 20
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err == nil && len(body) > limit {
		err = &failure{http.StatusRequestEntityTooLarge, "request_entity_too_large", "the body is larger than 1 MiB"}
	}
	return body, err
}

// bearer is the token that a request shows.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
