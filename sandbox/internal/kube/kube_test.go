package kube

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

const stream = `# a comment before the first document
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
`

func TestApplySendsEachObjectInOrder(t *testing.T) {
	var patches []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/api":
			_, _ = io.WriteString(w, `{"kind":"APIVersions","versions":["v1"]}`)
		case r.URL.Path == "/apis":
			_, _ = io.WriteString(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
		case r.URL.Path == "/api/v1":
			_, _ = io.WriteString(w, `{"kind":"APIResourceList","groupVersion":"v1","resources":[
				{"name":"namespaces","kind":"Namespace","namespaced":false,"verbs":["patch"]},
				{"name":"configmaps","kind":"ConfigMap","namespaced":true,"verbs":["patch"]}]}`)
		case r.Method == http.MethodPatch:
			patches = append(patches, r.URL.RequestURI())
			_, _ = io.Copy(w, r.Body)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	client, err := forConfig(&rest.Config{Host: server.URL}, "tester")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Apply(t.Context(), []byte(stream)); err != nil {
		t.Fatal(err)
	}
	want := "/api/v1/namespaces/shop?fieldManager=tester&force=true /api/v1/namespaces/shop/configmaps/settings?fieldManager=tester&force=true"
	if got := strings.Join(patches, " "); got != want {
		t.Errorf("want %s\ngot  %s", want, got)
	}
}

func TestApplyNamesTheObjectThatFails(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	client, err := forConfig(&rest.Config{Host: server.URL}, "tester")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Apply(t.Context(), []byte(stream)); err == nil || !strings.Contains(err.Error(), "apply Namespace shop") {
		t.Errorf("error is %v", err)
	}
}

func TestParseCountsToTheBadDocument(t *testing.T) {
	_, err := Parse([]byte(stream + "---\nkind: [\n"))
	if err == nil || !strings.Contains(err.Error(), "object 3") {
		t.Errorf("error is %v", err)
	}
}
