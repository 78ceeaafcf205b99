// Package described compares exchanges with the OpenAPI description of an API. The tests of the emulated APIs use it.
package described

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// API is a description that was read.
type API struct {
	document *openapi3.T
	router   routers.Router
	options  *openapi3filter.Options
}

// Load reads a description, JSON or YAML, and whether it lists every status that the API may answer.
func Load(path string, everyStatus bool) (*API, error) {
	document, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, err
	}
	document.Servers = nil // any address
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		return nil, err
	}
	// Who may ask is not a matter of the description.
	options := &openapi3filter.Options{
		IncludeResponseStatus: everyStatus, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	return &API{document, router, options}, nil
}

// Exchange is a request and what was answered.
type Exchange struct {
	Method, Path, Body string
	Status             int
	Header             http.Header // of the answer
	Answer             string
}

// ErrUnknown says that a description does not hold the route of a request.
var ErrUnknown = errors.New("the description does not hold it")

// Differences are those of an exchange from the description, a sentence each. A request that was refused is not compared: it
// was meant to be wrong. Err is ErrUnknown, or a request that cannot be one.
func (api *API) Differences(exchange Exchange) (differences []string, err error) {
	input, err := api.find(exchange.Method, exchange.Path, exchange.Body)
	if err != nil {
		return nil, err
	}
	if exchange.Status < 300 {
		for _, what := range split(openapi3filter.ValidateRequest(context.Background(), input)) {
			differences = append(differences, "request: "+what)
		}
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: exchange.Status, Header: exchange.Header,
		Body: io.NopCloser(strings.NewReader(exchange.Answer)), Options: api.options,
	}
	for _, what := range split(openapi3filter.ValidateResponse(context.Background(), answer)) {
		differences = append(differences, fmt.Sprintf("answer %d: %s", exchange.Status, what))
	}
	return differences, nil
}

// Scopes are those that a token needs for a route, sorted.
func (api *API) Scopes(method, path string) ([]string, error) {
	input, err := api.find(method, path, "")
	if err != nil {
		return nil, err
	}
	var needed []string
	for _, requirement := range *input.Route.Operation.Security {
		for _, names := range requirement {
			needed = append(needed, names...)
		}
	}
	slices.Sort(needed)
	return needed, nil
}

// Operations are the methods of each path, sorted.
func (api *API) Operations() map[string][]string {
	operations := map[string][]string{}
	for path, item := range api.document.Paths.Map() {
		operations[path] = slices.Sorted(maps.Keys(item.Operations()))
	}
	return operations
}

// find gives the operation of a request.
func (api *API) find(method, path, body string) (*openapi3filter.RequestValidationInput, error) {
	request, err := http.NewRequest(method, "http://api"+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	route, parameters, err := api.router.FindRoute(request)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", method, path, ErrUnknown, err)
	}
	return &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters, Route: route, Options: api.options}, nil
}

// split makes one sentence of each of several errors, without the schemas.
func split(err error) []string {
	if err == nil {
		return nil
	}
	var several openapi3.MultiError
	if !errors.As(err, &several) {
		what, _, _ := strings.Cut(err.Error(), "Schema:")
		return []string{strings.TrimSpace(what)}
	}
	var all []string
	for _, one := range several {
		all = append(all, split(one)...)
	}
	return all
}
