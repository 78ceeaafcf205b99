package github

import (
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// maxComment is how many characters a comment may have.
const maxComment = 65_536

// itoa writes a number.
func itoa(number int64) string { return strconv.FormatInt(number, 10) }

// wireComment makes the answer for one comment.
func wireComment(c *call, comment Comment) map[string]any {
	api, id, issue := c.base()+"/repos/"+settings.GitHubRepo, itoa(comment.ID), itoa(int64(comment.Issue))
	association := "NONE"
	if comment.Author == User || comment.Author == Bot {
		association = "CONTRIBUTOR"
	}
	return map[string]any{
		"id": comment.ID, "node_id": "IC_" + id, "url": api + "/issues/comments/" + id, "issue_url": api + "/issues/" + issue,
		"html_url": website + settings.GitHubRepo + "/pull/" + issue + "#issuecomment-" + id,
		"user":     wireUser(c, comment.Author), "body": comment.Body, "author_association": association,
		"created_at": comment.Created.Format(time.RFC3339), "updated_at": comment.Updated.Format(time.RFC3339),
		"performed_via_github_app": nil,
	}
}

// listComments lists the comments on a pull request, oldest first.
func (s *Server) listComments(c *call) (int, any, error) {
	pull, err := s.pull(c)
	if err != nil {
		return 0, nil, err
	}
	since, _ := time.Parse(time.RFC3339, c.request.URL.Query().Get("since")) // none: since ever
	wires := []map[string]any{}
	for _, comment := range page(c, slices.DeleteFunc(s.Comments(pull.Number), func(x Comment) bool { return x.Updated.Before(since) })) {
		wires = append(wires, wireComment(c, comment))
	}
	return http.StatusOK, wires, nil
}

// commentBody reads the text of a comment that is to be written.
func commentBody(c *call) (string, error) {
	var request struct {
		Body *string `json:"body"`
	}
	if err := c.decode(&request); err != nil {
		return "", err
	}
	switch {
	case request.Body == nil:
		return "", missing("body")
	case *request.Body == "":
		return "", invalid("IssueComment", "body", "missing_field", "body cannot be blank")
	case utf8.RuneCountInString(*request.Body) > maxComment:
		return "", invalid("IssueComment", "data", "unprocessable", "Body is too long (maximum is 65536 characters)")
	}
	return *request.Body, nil
}

// createComment adds a comment of the caller.
func (s *Server) createComment(c *call) (int, any, error) {
	pull, err := s.pull(c)
	if err != nil {
		return 0, nil, err
	}
	body, err := commentBody(c)
	if err != nil {
		return 0, nil, err
	}
	comment := s.AddComment(pull.Number, c.login, body)
	c.header.Set("Location", c.base()+"/repos/"+settings.GitHubRepo+"/issues/comments/"+itoa(comment.ID))
	return http.StatusCreated, wireComment(c, comment), nil
}

// withComment finds the comment of a call's path and lets change alter it.
func (s *Server) withComment(c *call, change func(*Comment)) (Comment, error) {
	id, err := c.number("id")
	if err != nil {
		return Comment{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.state.comments, func(comment Comment) bool { return comment.ID == id })
	if at < 0 {
		return Comment{}, errNotFound
	}
	change(&s.state.comments[at])
	return s.state.comments[at], nil
}

// getComment answers with one comment.
func (s *Server) getComment(c *call) (int, any, error) {
	comment, err := s.withComment(c, func(*Comment) {})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, wireComment(c, comment), nil
}

// updateComment replaces a comment's text. It is a PATCH: GitHub answers 404 to a POST here.
func (s *Server) updateComment(c *call) (int, any, error) {
	body, err := commentBody(c)
	if err != nil {
		return 0, nil, err
	}
	comment, err := s.withComment(c, func(comment *Comment) {
		comment.Body, comment.Updated = body, time.Now().UTC().Truncate(time.Second)
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, wireComment(c, comment), nil
}

// deleteComment removes a comment.
func (s *Server) deleteComment(c *call) (int, any, error) {
	id, err := c.number("id")
	if err != nil {
		return 0, nil, err
	}
	if !s.DeleteComment(id) {
		return 0, nil, errNotFound
	}
	return http.StatusNoContent, nil, nil
}
