package serve_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/seaway-deploy/seaway/sandbox/internal/serve"
)

// TestEnd: every listener is served, and the end closes them all, even while a request is under way.
func TestEnd(t *testing.T) {
	var listeners []net.Listener
	for range 2 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, listener)
	}
	entered, ended := make(chan struct{}), make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-r.Context().Done() // the connection is cut
		}
		_, _ = io.WriteString(w, "here")
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- serve.HTTP(ctx, listeners, handler, slog.New(slog.DiscardHandler)) }()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, listener := range listeners {
		response, err := client.Get("http://" + listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	cut := make(chan error, 1)
	go func() {
		_, err := client.Get("http://" + listeners[0].Addr().String() + "/slow")
		cut <- err
	}()
	<-entered
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if err := <-cut; err == nil {
		t.Error("the request under way was answered")
	}
	for _, listener := range listeners {
		if again, err := net.Listen("tcp", listener.Addr().String()); err != nil {
			t.Errorf("a listener is still open: %v", err)
		} else {
			_ = again.Close()
		}
	}
}

// TestListenerThatFails: is told, and does not leave the others open.
func TestListenerThatFails(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := serve.HTTP(t.Context(), []net.Listener{listener}, http.NotFoundHandler(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
}
