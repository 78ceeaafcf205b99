package control

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/seaway-deploy/seaway/sandbox/internal/github"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// comments lists the comments on a pull request.
func (s *server) comments(r *http.Request) (any, error) {
	issue, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("issue"), strconv.Itoa(settings.PullRequest)))
	if err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	return append([]github.Comment{}, s.GitHub.Comments(issue)...), nil
}

// addComments adds comments of anybody.
func (s *server) addComments(r *http.Request) (any, error) {
	body := struct {
		Issue  int    `json:"issue"`
		Author string `json:"author"`
		Body   string `json:"body"`
		Count  int    `json:"count"`
	}{Issue: settings.PullRequest, Count: 1}
	if err := decode(r, &body); err != nil {
		return nil, err
	}
	if body.Author == "" || body.Body == "" {
		return nil, errors.New("give author and body")
	}
	added := []github.Comment{}
	for range body.Count {
		added = append(added, s.GitHub.AddComment(body.Issue, body.Author, body.Body))
	}
	return added, nil
}

// deleteComment removes a comment.
func (s *server) deleteComment(r *http.Request) (any, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || !s.GitHub.DeleteComment(id) {
		return nil, errNotFound
	}
	return nil, nil
}

// deployments lists deployments with their statuses.
func (s *server) deployments(*http.Request) (any, error) {
	return append([]github.Deployment{}, s.GitHub.Deployments()...), nil
}

// changePull closes, merges, reopens or moves a pull request.
func (s *server) changePull(r *http.Request) (any, error) {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		return nil, errNotFound
	}
	var changed github.Pull
	var failure error
	found := s.GitHub.SetPull(number, func(pull *github.Pull) {
		changed = *pull
		if failure = decode(r, &changed); failure == nil {
			*pull = changed
		}
	})
	if !found {
		return nil, errNotFound
	}
	return changed, failure
}

// trouble replaces what is wrong with GitHub.
func (s *server) trouble(r *http.Request) (any, error) {
	var trouble github.Trouble
	if err := decode(r, &trouble); err != nil {
		return nil, err
	}
	s.GitHub.SetTrouble(trouble)
	return trouble, nil
}
