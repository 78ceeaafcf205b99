package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// call is one request on its way through the API.
type call struct {
	request *http.Request
	header  http.Header // of the answer
	login   string      // who shows the token
	body    []byte
	note    string // for the request log
}

// work answers the calls of one route: a status and what is written as JSON.
type work func(*call) (status int, answer any, err error)

// failure is an answer that tells what is wrong.
type failure struct {
	status  int
	message string
	details []any // the `errors` of a validation
}

// Error is the message for the log.
func (f *failure) Error() string { return f.message }

// The usual failures, in GitHub's words.
var (
	errNotFound       = &failure{status: http.StatusNotFound, message: "Not Found"}
	errBadCredentials = &failure{status: http.StatusUnauthorized, message: "Bad credentials"}
	errNoCredentials  = &failure{status: http.StatusUnauthorized, message: "Requires authentication"}
	errIntegration    = &failure{status: http.StatusForbidden, message: "Resource not accessible by integration"}
	errRateLimit      = &failure{status: http.StatusForbidden, message: "API rate limit exceeded for installation."}
)

// invalid is a 422 that names a field.
func invalid(resource, field, code, message string) error {
	return &failure{http.StatusUnprocessableEntity, "Validation Failed", []any{
		map[string]string{"resource": resource, "field": field, "code": code, "message": message},
	}}
}

// missing is the 422 for a body without a field that must be there.
func missing(field string) error {
	return &failure{status: http.StatusUnprocessableEntity, message: fmt.Sprintf("Invalid request.\n\n%q wasn't supplied.", field)}
}

// decode reads the body of a write.
func (c *call) decode(into any) error {
	if err := json.Unmarshal(c.body, into); err != nil {
		return &failure{status: http.StatusBadRequest, message: "Problems parsing JSON"}
	}
	return nil
}

// number is a wildcard of the route that must be a number.
func (c *call) number(name string) (int64, error) {
	number, err := strconv.ParseInt(c.request.PathValue(name), 10, 64)
	if err != nil {
		return 0, errNotFound
	}
	return number, nil
}

// base is the API's address as the client used it.
func (c *call) base() string {
	prefix := ""
	if strings.HasPrefix(c.request.RequestURI, "/api/v3/") {
		prefix = "/api/v3"
	}
	return "http://" + c.request.Host + prefix
}

// serve turns a route's work into an http.Handler.
func (s *Server) serve(do work) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{request: r, header: w.Header()}
		status, answer, err := s.answer(c, do)
		if err != nil {
			status, answer = failed(err)
		}
		w.Header().Set("x-github-request-id", account.NewID())
		w.Header().Set("x-github-media-type", "github.v3; format=json")
		s.account.Record(account.Request{
			Service: "github", Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Status: status,
			Principal: c.login, Body: string(c.body), Note: c.note,
		})
		if answer == nil {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // a client that has gone away needs no answer
	})
}

// answer does what comes before the route's work, and then the work.
func (s *Server) answer(c *call, do work) (int, any, error) {
	const limit = 4 << 20
	body, err := io.ReadAll(io.LimitReader(c.request.Body, limit))
	if err != nil {
		return 0, nil, err
	}
	c.body = body
	if err := s.suffer(c); err != nil {
		return 0, nil, err
	}
	if err := s.authenticate(c); err != nil {
		return 0, nil, err
	}
	if owner := c.request.PathValue("owner"); owner != "" && owner+"/"+c.request.PathValue("repo") != settings.GitHubRepo {
		return 0, nil, errNotFound
	}
	return do(c)
}

// failed makes the answer to an error.
func failed(err error) (int, any) {
	var known *failure
	if !errors.As(err, &known) {
		known = &failure{status: http.StatusInternalServerError, message: err.Error()}
	}
	answer := map[string]any{
		"message": known.message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(known.status),
	}
	if known.details != nil {
		answer["errors"] = known.details
	}
	return known.status, answer
}

// suffer lets the trouble that was asked for happen.
func (s *Server) suffer(c *call) error {
	writes := c.request.Method != http.MethodGet
	s.mu.Lock()
	trouble := s.state.trouble
	hit := trouble.Status != 0 && (writes || !trouble.Writes)
	if hit && trouble.Times > 0 {
		s.state.trouble.Times--
		if s.state.trouble.Times == 0 {
			s.state.trouble.Status = 0
		}
	}
	s.mu.Unlock()
	if trouble.Delay > 0 {
		select {
		case <-c.request.Context().Done():
		case <-time.After(trouble.Delay.Duration()):
		}
	}
	if !hit {
		return nil
	}
	if trouble.RetryAfter > 0 {
		c.header.Set("Retry-After", strconv.Itoa(trouble.RetryAfter))
	}
	return &failure{status: trouble.Status, message: http.StatusText(trouble.Status)}
}

// authenticate finds out who calls, counts the call and refuses it above the limit. A write with a read-only token is
// refused as for a workflow of a fork.
func (s *Server) authenticate(c *call) error {
	scheme, token, _ := strings.Cut(c.request.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") && !strings.EqualFold(scheme, "token") {
		return errNoCredentials
	}
	logins := map[string]string{settings.GitHubToken: Bot, UserToken: User}
	if c.login = logins[strings.TrimSpace(token)]; c.login == "" {
		return errBadCredentials
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.After(s.state.hourEnds) {
		s.state.hourEnds = now.Add(time.Hour)
		clear(s.state.used)
	}
	s.state.used[c.login]++
	left := max(0, requestsPerHour-s.state.used[c.login])
	for name, value := range map[string]string{
		"limit": strconv.Itoa(requestsPerHour), "remaining": strconv.Itoa(left), "used": strconv.Itoa(s.state.used[c.login]),
		"reset": strconv.FormatInt(s.state.hourEnds.Unix(), 10), "resource": "core",
	} {
		c.header.Set("x-ratelimit-"+name, value)
	}
	if s.state.used[c.login] > requestsPerHour {
		return errRateLimit
	}
	if s.state.trouble.ReadOnly && c.request.Method != http.MethodGet {
		return errIntegration
	}
	return nil
}

// page cuts one page out of a list and writes the Link header to the other pages:
// https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
func page[T any](c *call, all []T) []T {
	query := c.request.URL.Query()
	number, size := atLeastOne(query.Get("page"), 1), min(100, atLeastOne(query.Get("per_page"), 30))
	last := max(1, (len(all)+size-1)/size)
	link := func(to int, rel string) string {
		query.Set("page", strconv.Itoa(to))
		return fmt.Sprintf(`<%s%s?%s>; rel=%q`, c.base(), c.request.URL.EscapedPath(), query.Encode(), rel)
	}
	var links []string
	if number > 1 {
		links = append(links, link(number-1, "prev"))
	}
	if number < last {
		links = append(links, link(number+1, "next"), link(last, "last"))
	}
	if number > 1 {
		links = append(links, link(1, "first"))
	}
	if len(links) > 0 {
		c.header.Set("Link", strings.Join(links, ", "))
	}
	from := min((number-1)*size, len(all))
	return append([]T{}, all[from:min(from+size, len(all))]...)
}

// atLeastOne reads a number, or gives otherwise.
func atLeastOne(text string, otherwise int) int {
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 {
		return otherwise
	}
	return number
}
