package github

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// Deployment is one deployment with its statuses, the newest last.
type Deployment struct {
	ID          int64              `json:"id"`
	Ref         string             `json:"ref"`
	Task        string             `json:"task"`
	Environment string             `json:"environment"`
	Description string             `json:"description"`
	Transient   bool               `json:"transient_environment"`
	Production  bool               `json:"production_environment"`
	Payload     json.RawMessage    `json:"payload"`
	Creator     string             `json:"creator"`
	Created     time.Time          `json:"created_at"`
	Statuses    []DeploymentStatus `json:"statuses"`
}

// DeploymentStatus is one state of a deployment.
type DeploymentStatus struct {
	ID             int64     `json:"id"`
	State          string    `json:"state"`
	Description    string    `json:"description"`
	LogURL         string    `json:"log_url"`
	EnvironmentURL string    `json:"environment_url"`
	Environment    string    `json:"environment"`
	Creator        string    `json:"creator"`
	Created        time.Time `json:"created_at"`
}

// CommitStatus is one status of a commit.
type CommitStatus struct {
	ID          int64     `json:"id"`
	SHA         string    `json:"sha"`
	State       string    `json:"state"`
	Context     string    `json:"context"`
	Description string    `json:"description"`
	TargetURL   string    `json:"target_url"`
	Creator     string    `json:"creator"`
	Created     time.Time `json:"created_at"`
}

// The states that GitHub knows.
var (
	deploymentStates = []string{"error", "failure", "inactive", "in_progress", "queued", "pending", "success"}
	commitStates     = []string{"error", "failure", "pending", "success"}
)

// Deployments lists all deployments with their statuses, oldest first.
func (s *Server) Deployments() []Deployment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.state.deployments)
}

// wireDeployment makes the answer for one deployment.
func wireDeployment(c *call, d Deployment) map[string]any {
	api := c.base() + "/repos/" + settings.GitHubRepo
	url := api + "/deployments/" + itoa(d.ID)
	return map[string]any{
		"id": d.ID, "node_id": "DE_" + itoa(d.ID), "sha": HeadSHA, "ref": d.Ref, "task": d.Task, "payload": d.Payload,
		"environment": d.Environment, "original_environment": d.Environment, "description": d.Description,
		"creator": wireUser(c, d.Creator), "created_at": d.Created.Format(time.RFC3339), "updated_at": d.Created.Format(time.RFC3339),
		"url": url, "statuses_url": url + "/statuses", "repository_url": api,
		"transient_environment": d.Transient, "production_environment": d.Production,
	}
}

// listDeployments lists deployments, the newest first, all or those of an environment, a ref or a task.
func (s *Server) listDeployments(c *call) (int, any, error) {
	query := c.request.URL.Query()
	differs := func(name, value string) bool { return query.Get(name) != "" && query.Get(name) != value }
	wires := []map[string]any{}
	for _, d := range slices.Backward(s.Deployments()) {
		if !differs("environment", d.Environment) && !differs("ref", d.Ref) && !differs("task", d.Task) {
			wires = append(wires, wireDeployment(c, d))
		}
	}
	return http.StatusOK, page(c, wires), nil
}

// createDeployment makes a deployment. Like GitHub it refuses, by default, while a commit's checks are not green, and
// merges the default branch; the sandbox has no checks, so only a list of them that is asked for refuses.
func (s *Server) createDeployment(c *call) (int, any, error) {
	var request struct {
		Ref         string          `json:"ref"`
		Task        string          `json:"task"`
		Environment string          `json:"environment"`
		Description string          `json:"description"`
		Transient   bool            `json:"transient_environment"`
		Production  *bool           `json:"production_environment"`
		Payload     json.RawMessage `json:"payload"`
		Contexts    []string        `json:"required_contexts"`
	}
	if err := c.decode(&request); err != nil {
		return 0, nil, err
	}
	switch {
	case request.Ref == "":
		return 0, nil, missing("ref")
	case len(request.Contexts) > 0:
		return 0, nil, &failure{status: http.StatusConflict, message: "Conflict: Commit status checks failed for " + request.Ref + "."}
	}
	d := Deployment{
		Ref: request.Ref, Task: orElse(request.Task, "deploy"), Environment: orElse(request.Environment, "production"),
		Description: request.Description, Transient: request.Transient, Payload: request.Payload, Creator: c.login,
		Created: time.Now().UTC().Truncate(time.Second), Statuses: []DeploymentStatus{},
	}
	if d.Production = d.Environment == "production"; request.Production != nil {
		d.Production = *request.Production
	}
	if d.Payload == nil {
		d.Payload = json.RawMessage("{}")
	}
	s.mu.Lock()
	d.ID = s.newID()
	s.state.deployments = append(s.state.deployments, d)
	s.mu.Unlock()
	return http.StatusCreated, wireDeployment(c, d), nil
}

// orElse is text, or otherwise if it is empty.
func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// withDeployment finds the deployment of a call's path and lets change alter it.
func (s *Server) withDeployment(c *call, change func(*Deployment)) (Deployment, error) {
	id, err := c.number("id")
	if err != nil {
		return Deployment{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.state.deployments, func(d Deployment) bool { return d.ID == id })
	if at < 0 {
		return Deployment{}, errNotFound
	}
	change(&s.state.deployments[at])
	return s.state.deployments[at], nil
}

// getDeployment answers with one deployment.
func (s *Server) getDeployment(c *call) (int, any, error) {
	d, err := s.withDeployment(c, func(*Deployment) {})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, wireDeployment(c, d), nil
}

// wireDeploymentStatus makes the answer for one status.
func wireDeploymentStatus(c *call, d Deployment, status DeploymentStatus) map[string]any {
	deployment := c.base() + "/repos/" + settings.GitHubRepo + "/deployments/" + itoa(d.ID)
	return map[string]any{
		"id": status.ID, "node_id": "DES_" + itoa(status.ID), "state": status.State, "description": status.Description,
		"environment": status.Environment, "environment_url": status.EnvironmentURL, "log_url": status.LogURL, "target_url": status.LogURL,
		"creator": wireUser(c, status.Creator), "created_at": status.Created.Format(time.RFC3339),
		"updated_at": status.Created.Format(time.RFC3339), "deployment_url": deployment,
		"url": deployment + "/statuses/" + itoa(status.ID), "repository_url": c.base() + "/repos/" + settings.GitHubRepo,
	}
}

// listDeploymentStatuses lists the states of a deployment, the newest first.
func (s *Server) listDeploymentStatuses(c *call) (int, any, error) {
	d, err := s.withDeployment(c, func(*Deployment) {})
	if err != nil {
		return 0, nil, err
	}
	wires := []map[string]any{}
	for _, status := range slices.Backward(d.Statuses) {
		wires = append(wires, wireDeploymentStatus(c, d, status))
	}
	return http.StatusOK, page(c, wires), nil
}

// createDeploymentStatus adds a state. A success retires older deployments of the same environment that are neither
// transient nor production, unless auto_inactive is false.
func (s *Server) createDeploymentStatus(c *call) (int, any, error) {
	var request struct {
		DeploymentStatus
		AutoInactive *bool `json:"auto_inactive"`
	}
	if err := c.decode(&request); err != nil {
		return 0, nil, err
	}
	switch {
	case request.State == "":
		return 0, nil, missing("state")
	case !slices.Contains(deploymentStates, request.State):
		return 0, nil, invalid("DeploymentStatus", "state", "invalid", "state is not one of those that GitHub knows")
	case utf8.RuneCountInString(request.Description) > 140:
		return 0, nil, invalid("DeploymentStatus", "description", "custom", "description is too long (maximum is 140 characters)")
	}
	status := request.DeploymentStatus
	status.Creator, status.Created = c.login, time.Now().UTC().Truncate(time.Second)
	d, err := s.withDeployment(c, func(d *Deployment) {
		status.ID, status.Environment = s.newID(), orElse(status.Environment, d.Environment)
		d.Statuses = append(d.Statuses, status)
	})
	if err != nil {
		return 0, nil, err
	}
	if status.State == "success" && (request.AutoInactive == nil || *request.AutoInactive) {
		s.retire(d)
	}
	return http.StatusCreated, wireDeploymentStatus(c, d, status), nil
}

// retire makes the other deployments of an environment inactive, where GitHub does.
func (s *Server) retire(newest Deployment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.state.deployments {
		d := &s.state.deployments[i]
		if d.ID != newest.ID && d.Environment == newest.Environment && !d.Transient && !d.Production {
			d.Statuses = append(d.Statuses, DeploymentStatus{
				ID: s.newID(), State: "inactive", Environment: d.Environment, Creator: newest.Creator, Created: time.Now().UTC(),
			})
		}
	}
}

// wireCommitStatus makes the answer for one status of a commit.
func wireCommitStatus(c *call, status CommitStatus) map[string]any {
	return map[string]any{
		"id": status.ID, "node_id": "SC_" + itoa(status.ID), "state": status.State, "context": status.Context,
		"description": status.Description, "target_url": status.TargetURL, "creator": wireUser(c, status.Creator),
		"avatar_url": "https://avatars.githubusercontent.com/u/1", "created_at": status.Created.Format(time.RFC3339),
		"updated_at": status.Created.Format(time.RFC3339),
		"url":        c.base() + "/repos/" + settings.GitHubRepo + "/statuses/" + status.SHA,
	}
}

// createCommitStatus adds a status to a commit.
func (s *Server) createCommitStatus(c *call) (int, any, error) {
	var status CommitStatus
	if err := c.decode(&status); err != nil {
		return 0, nil, err
	}
	if !slices.Contains(commitStates, status.State) {
		return 0, nil, invalid("Status", "state", "invalid", "state is not one of those that GitHub knows")
	}
	status.SHA, status.Creator, status.Created = c.request.PathValue("sha"), c.login, time.Now().UTC().Truncate(time.Second)
	status.Context = orElse(status.Context, "default")
	s.mu.Lock()
	status.ID = s.newID()
	s.state.statuses = append(s.state.statuses, status)
	s.mu.Unlock()
	return http.StatusCreated, wireCommitStatus(c, status), nil
}

// listCommitStatuses lists the statuses of a commit, the newest first.
func (s *Server) listCommitStatuses(c *call) (int, any, error) {
	s.mu.Lock()
	all := slices.Clone(s.state.statuses)
	s.mu.Unlock()
	wires := []map[string]any{}
	for _, status := range slices.Backward(all) {
		if status.SHA == c.request.PathValue("ref") {
			wires = append(wires, wireCommitStatus(c, status))
		}
	}
	return http.StatusOK, page(c, wires), nil
}
