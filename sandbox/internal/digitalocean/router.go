package digitalocean

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// handler answers a call of one route.
type handler func(*server, *call) (reply, error)

// route is one line of the table.
type route struct {
	pattern string   // as http.ServeMux takes it
	scopes  []string // all that the token needs
	handler handler
}

// router makes the handler of all routes.
func (s *server) router() http.Handler {
	mux := http.NewServeMux()
	for _, route := range routes {
		mux.Handle(route.pattern, s.serve(route))
	}
	for _, pattern := range notImplemented {
		mux.Handle(pattern, s.serve(route{pattern: pattern, handler: (*server).sayNotImplemented}))
	}
	mux.Handle("/", s.serve(route{handler: (*server).sayUnknown}))
	mux.HandleFunc("/v2/registry/auth", s.registryToken)
	mux.HandleFunc("POST /internal/token-review", s.tokenReview)
	mux.HandleFunc("POST /v1/oauth/revoke", s.revoke)
	return mux
}

// sayUnknown answers what DigitalOcean does not have either.
func (s *server) sayUnknown(c *call) (reply, error) {
	c.note = "unknown route"
	return reply{}, errNotFound
}

// sayNotImplemented answers what DigitalOcean has and the sandbox has not.
func (s *server) sayNotImplemented(c *call) (reply, error) {
	c.note = "not implemented"
	return reply{}, &failure{http.StatusNotImplemented, "not_implemented",
		"the sandbox does not emulate " + c.request.Method + " " + c.request.URL.Path}
}

// serve turns a route into an http.Handler: authentication, limits, scopes, the route's own work, the log.
func (s *server) serve(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{request: r}
		answer, err := s.answer(w, route, c)
		if err != nil {
			answer = s.failed(c, err)
		}
		requestID := account.NewID()
		w.Header().Set("x-request-id", requestID)
		if body, isFailure := answer.body.(*errorBody); isFailure {
			body.RequestID = requestID
		}
		write(w, answer)
		s.account.Record(account.Request{
			Service: "digitalocean", Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Status: answer.status,
			Principal: c.token.Name, Body: string(c.body), Note: c.note,
		})
	})
}

// answer is what serve does before it writes.
func (s *server) answer(w http.ResponseWriter, route route, c *call) (reply, error) {
	body, err := readBody(c.request)
	if err != nil {
		return reply{}, err
	}
	c.body = body
	if c.token, err = s.account.Authenticate(bearer(c.request)); err != nil {
		c.note = err.Error()
		return reply{}, errUnauthorized
	}
	if err := s.limit(w, c); err != nil {
		return reply{}, err
	}
	if s.account.TakeServerError() {
		return reply{}, errServer
	}
	if missing := c.token.Missing(route.scopes); len(missing) > 0 || c.token.Kind != account.KindAPI {
		c.note = "missing scopes: " + strings.Join(missing, " ")
		return reply{}, errForbidden
	}
	return route.handler(s, c)
}

// limit counts the call and refuses it above the limits. Only the limit a minute says when to come back:
// https://docs.digitalocean.com/reference/api/api-reference/#section/Introduction/Rate-Limit
func (s *server) limit(w http.ResponseWriter, c *call) error {
	rate := s.account.Count(c.token.Value)
	w.Header().Set("ratelimit-limit", strconv.Itoa(rate.Limit))
	w.Header().Set("ratelimit-remaining", strconv.Itoa(rate.Remaining))
	w.Header().Set("ratelimit-reset", strconv.FormatInt(rate.Reset.Unix(), 10))
	if rate.RetryAfter == 0 {
		return nil
	}
	if rate.Burst {
		w.Header().Set("retry-after", strconv.Itoa(int(math.Ceil(rate.RetryAfter.Seconds()))))
	}
	return &failure{http.StatusTooManyRequests, "too_many_requests", "API Rate limit exceeded."}
}

// errorBody is what a failure looks like on the wire.
type errorBody struct {
	ID        string `json:"id"`
	Message   string `json:"message"`
	RequestID string `json:"request_id"`
}

// failed makes the answer to an error. One that is not a failure is a mistake of the sandbox, and is logged.
func (s *server) failed(c *call, err error) reply {
	var known *failure
	if !errors.As(err, &known) {
		s.log.Error("the API failed", "method", c.request.Method, "path", c.request.URL.Path, "cause", err)
		c.note, known = err.Error(), errServer
	}
	return reply{known.status, &errorBody{ID: known.id, Message: known.message}}
}

// write sends an answer.
func write(w http.ResponseWriter, answer reply) {
	switch body := answer.body.(type) {
	case nil:
		w.WriteHeader(answer.status)
	case text:
		w.Header().Set("Content-Type", body.contentType)
		w.WriteHeader(answer.status)
		_, _ = w.Write([]byte(body.content)) // a client that has gone away needs no answer
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(answer.status)
		_ = json.NewEncoder(w).Encode(body)
	}
}
