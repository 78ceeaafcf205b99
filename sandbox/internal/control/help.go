package control

import (
	_ "embed"
	"net/http"
	"strings"
)

//go:embed control.go
var source string

// help answers with the table of the package comment: one place says what there is.
func help(w http.ResponseWriter, _ *http.Request) {
	comment, _, _ := strings.Cut(source, "\npackage control\n")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for line := range strings.Lines(comment) {
		_, _ = w.Write([]byte(strings.TrimPrefix(strings.TrimPrefix(line, "//"), " ")))
	}
}
