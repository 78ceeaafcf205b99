package digitalocean

import (
	"encoding/json"
	"net/http"
	"os"
	"time"

	"github.com/digitalocean/godo"
	"sigs.k8s.io/yaml"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// clusterTokenLifetime is how long a cluster's credentials work when the call does not say.
const clusterTokenLifetime = 7 * 24 * time.Hour

// Who the holder of a cluster's credentials is to its API server.
const userPrefix = "sandbox:"

var clusterGroups = []string{"system:masters"}

// mintForCluster makes a new credential for the cluster of a call, as every such call does.
func (s *server) mintForCluster(c *call) (cluster godo.KubernetesCluster, token account.Token, authority []byte, err error) {
	if cluster, err = s.cluster(c); err != nil {
		return cluster, token, nil, err
	}
	lifetime, err := c.seconds("expiry_seconds", clusterTokenLifetime)
	if err != nil {
		return cluster, token, nil, err
	}
	if authority, err = os.ReadFile(s.clusterCA); err != nil {
		return cluster, token, nil, err
	}
	token, err = s.account.MintClusterToken(cluster.ID, lifetime)
	c.note = "minted " + token.Name
	return cluster, token, authority, err
}

// clusterCredentials answers with the parts of a kubeconfig.
func (s *server) clusterCredentials(c *call) (reply, error) {
	cluster, token, authority, err := s.mintForCluster(c)
	if err != nil {
		return reply{}, err
	}
	return ok(godo.KubernetesClusterCredentials{
		Server: cluster.Endpoint, CertificateAuthorityData: authority, Token: token.Value, ExpiresAt: token.ExpiresAt,
	})
}

// clusterKubeconfig answers with a kubeconfig that holds a token, as YAML.
func (s *server) clusterKubeconfig(c *call) (reply, error) {
	if kind := c.query("type"); kind != "" && kind != "token" {
		return reply{}, unprocessable("the cluster has no single sign-on: type must be token, not %q", kind)
	}
	cluster, token, authority, err := s.mintForCluster(c)
	if err != nil {
		return reply{}, err
	}
	content, err := kubeconfig(cluster, token, authority)
	if err != nil {
		return reply{}, err
	}
	return ok(text{"application/yaml", string(content)})
}

// kubeconfig names things as DigitalOcean does: do-REGION-NAME.
func kubeconfig(cluster godo.KubernetesCluster, token account.Token, authority []byte) ([]byte, error) {
	name := "do-" + cluster.RegionSlug + "-" + cluster.Name
	user := name + "-admin"
	return yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "preferences": map[string]any{}, "current-context": name,
		"clusters": []any{map[string]any{"name": name, "cluster": map[string]any{
			"server": cluster.Endpoint, "certificate-authority-data": authority,
		}}},
		"contexts": []any{map[string]any{"name": name, "context": map[string]any{"cluster": name, "user": user}}},
		"users":    []any{map[string]any{"name": user, "user": map[string]any{"token": token.Value}}},
	})
}

// review is a TokenReview of authentication.k8s.io/v1, as far as an API server asks for one:
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#webhook-token-authentication
type review struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       *reviewSpec  `json:"spec,omitempty"`
	Status     reviewStatus `json:"status"`
}

// reviewSpec is the question.
type reviewSpec struct {
	Token string `json:"token"`
}

// reviewStatus is the answer.
type reviewStatus struct {
	Authenticated bool        `json:"authenticated"`
	User          *reviewUser `json:"user,omitempty"`
	Error         string      `json:"error,omitempty"`
}

// reviewUser is who shows the token.
type reviewUser struct {
	Username string   `json:"username"`
	UID      string   `json:"uid"`
	Groups   []string `json:"groups"`
}

// tokenReview tells an API server who shows a token: the webhook of `--authentication-token-webhook-config-file`.
func (s *server) tokenReview(w http.ResponseWriter, r *http.Request) {
	var asked review
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Spec == nil {
		http.Error(w, "not a TokenReview", http.StatusBadRequest)
		return
	}
	status := reviewStatus{}
	token, err := s.account.Authenticate(asked.Spec.Token)
	switch {
	case err != nil:
		status.Error = err.Error()
	case token.Kind != account.KindCluster:
		status.Error = "the token does not open clusters"
	default:
		status = reviewStatus{Authenticated: true, User: &reviewUser{userPrefix + token.Name, token.Name, clusterGroups}}
	}
	write(w, reply{http.StatusOK, review{APIVersion: asked.APIVersion, Kind: "TokenReview", Status: status}})
}
