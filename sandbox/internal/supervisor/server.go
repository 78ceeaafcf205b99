package supervisor

import (
	"encoding/json"
	"net/http"
)

// newServer answers on the supervisor's socket:
//
//	GET  /status  every part, as JSON
//	GET  /follow  the same, a line at every change, until the client leaves
//	POST /start   start the parts that the query names by `part`, and what they need, as far as they do not run
//	POST /stop    end everything
//	POST /reset   back to the seeded state
func newServer(board *Board, whole *sandbox, running *runner, stop func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		all, _ := board.snapshot()
		answer(w, all)
	})
	mux.HandleFunc("GET /follow", func(w http.ResponseWriter, r *http.Request) { follow(w, r, board) })
	mux.HandleFunc("POST /start", func(w http.ResponseWriter, r *http.Request) {
		parts, err := Choose(whole.parts(), r.URL.Query()["part"])
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		running.start(parts)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		stop()
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, r *http.Request) {
		if err := whole.control().ToSeed(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

func follow(w http.ResponseWriter, r *http.Request, board *Board) {
	for {
		all, changed := board.snapshot()
		answer(w, all)
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// answer writes one line of JSON. A client that is gone is no error of the server.
func answer(w http.ResponseWriter, value any) {
	_ = json.NewEncoder(w).Encode(value)
}
