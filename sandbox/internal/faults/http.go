package faults

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strconv"
	"time"
)

// errCut ends a body in the middle.
var errCut = errors.New("cut by the fault proxy")

// itoa writes a number.
func itoa(number int) string { return strconv.Itoa(number) }

// handler carries HTTP. Clients keep the address that they used: answers with relative addresses, or with ones made from
// the Host header, lead through the proxy again.
func (p proxy) handler(open context.Context) http.Handler {
	carrier := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", p.Settings.HostPort(p.to)
		},
		// A connection of its own for each request: a cut one hits nobody else.
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug),
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			p.Log.Debug("the proxy cuts a connection", "target", p.target, "cause", err)
			panic(http.ErrAbortHandler)
		},
		ModifyResponse: func(answer *http.Response) error {
			rule, _ := answer.Request.Context().Value(ruleKey{}).(*Rule)
			method := answer.Request.Method
			p.Rules.count(p.target, method, func(c *Count) { c.Statuses[answer.StatusCode]++ })
			counted := func(n int) { p.Rules.count(p.target, method, func(c *Count) { c.ResponseBytes += int64(n) }) }
			var cut *int64
			if rule != nil {
				cut = rule.CutResponse
			}
			answer.Body = &body{ReadCloser: answer.Body, counted: counted, cut: cut}
			return nil
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rule := p.Rules.match(p.target, r.Method, r.URL.Path)
		p.Rules.count(p.target, r.Method, func(c *Count) { c.Requests++ })
		p.watch(r, rule)
		if rule != nil {
			if !p.suffer(open, w, r, rule) {
				return
			}
			r = r.WithContext(context.WithValue(r.Context(), ruleKey{}, rule))
		}
		carrier.ServeHTTP(w, r)
	})
}

// ruleKey is where a request's context holds the rule that hit it.
type ruleKey struct{}

// watch counts the request's body, and cuts it where the rule says.
func (p proxy) watch(r *http.Request, rule *Rule) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	path := r.URL.Path
	counted := func(n int) {
		p.Rules.count(p.target, r.Method, func(c *Count) { c.RequestBytes += int64(n) })
		p.Rules.watched(p.target, r.Method, path, int64(n))
	}
	var cut *int64
	if rule != nil {
		cut = rule.CutRequest
	}
	r.Body = &body{ReadCloser: r.Body, counted: counted, cut: cut}
}

// suffer lets the rule do what comes before the target, and says whether the request goes on to it.
func (p proxy) suffer(open context.Context, w http.ResponseWriter, r *http.Request, rule *Rule) bool {
	if rule.Delay > 0 && !wait(r.Context(), open, rule.Delay.Duration()) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case rule.Hold:
		select {
		case <-r.Context().Done():
		case <-open.Done():
		case <-rule.removed:
		}
		panic(http.ErrAbortHandler) // what was held is never answered
	case rule.Status != 0:
		_, _ = io.Copy(io.Discard, r.Body) // a client that is still sending gets the answer
		p.Rules.count(p.target, r.Method, func(c *Count) { c.Statuses[rule.Status]++ })
		p.fail(w, rule)
		return false
	}
	return true
}

// wait waits, unless one of the contexts ends first; it says whether it waited to the end.
func wait(first, second context.Context, d time.Duration) bool {
	select {
	case <-first.Done():
		return false
	case <-second.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// body counts what passes and ends with an error after so many bytes.
type body struct {
	io.ReadCloser
	counted func(int)
	cut     *int64 // bytes that pass; nil: all
	passed  int64
}

// Read is io.Reader's.
func (b *body) Read(into []byte) (int, error) {
	if b.cut != nil {
		left := *b.cut - b.passed
		if left <= 0 {
			return 0, errCut
		}
		into = into[:min(int64(len(into)), left)]
	}
	n, err := b.ReadCloser.Read(into)
	b.passed += int64(n)
	b.counted(n)
	return n, err
}
