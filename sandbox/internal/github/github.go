// Package github is the part of GitHub's API that a deploy tool talks to, over a repository with one pull request: the
// pull request, its comments, deployments and commit statuses, with authors, paging, limits and errors as GitHub's.
//
// What tests need beyond the API, such as a comment of somebody else or a failure, are methods of Server; the control
// API leads to them.
package github

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
	"github.com/seaway-deploy/seaway/sandbox/internal/serve"
	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// What is seeded beside the names in package settings.
const (
	Bot       = "github-actions[bot]" // who settings.GitHubToken is
	User      = "octo-dev"            // the author of the pull request, and who UserToken is
	UserToken = "ghp_sandbox00000000000000000000000000000"
	HeadSHA   = "5ea5ea5ea5ea5ea5ea5ea5ea5ea5ea5ea5ea5ea5"
	BaseSHA   = "ba5eba5eba5eba5eba5eba5eba5eba5eba5eba5e"
	HeadRef   = "feature/tasks"
)

// requestsPerHour is what a workflow's token may do in one repository:
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
const requestsPerHour = 1000

// Config is what the service needs.
type Config struct {
	Settings settings.Settings
	Server   *Server
	Listen   serve.Listen
	Log      *slog.Logger
}

// Run serves until ctx ends.
func Run(ctx context.Context, config Config, ready func(detail string)) error {
	listeners, err := config.Listen(settings.PortGitHub)
	if err != nil {
		return err
	}
	ready(config.Settings.URL(settings.PortGitHub))
	return serve.HTTP(ctx, listeners, config.Server.Handler(), config.Log)
}

// Server is GitHub. Its methods may be called from several goroutines at once.
type Server struct {
	account *account.Account // keeps the request log
	mu      sync.Mutex
	state   state
}

// state is what exists on GitHub.
type state struct {
	nextID      int64
	pulls       map[int]*Pull
	comments    []Comment // oldest first
	deployments []Deployment
	statuses    []CommitStatus
	trouble     Trouble
	used        map[string]int // token to requests in this hour
	hourEnds    time.Time
}

// Pull is the state of a pull request.
type Pull struct {
	Number int    `json:"number"`
	State  string `json:"state"` // open or closed
	Merged bool   `json:"merged"`
	Draft  bool   `json:"draft"`
	Title  string `json:"title"`
	SHA    string `json:"sha"` // of the head
}

// Comment is a comment on a pull request.
type Comment struct {
	ID      int64     `json:"id"`
	Issue   int       `json:"issue"`
	Author  string    `json:"author"`
	Body    string    `json:"body"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
}

// Trouble is what is wrong with GitHub.
type Trouble struct {
	Delay      account.Seconds `json:"delay_seconds"`   // before each answer
	Status     int             `json:"status"`          // answered instead of the real one, 0: never
	Times      int             `json:"times"`           // how often; 0 with a status: always
	Writes     bool            `json:"writes_only"`     // only to requests that are not GET
	RetryAfter int             `json:"retry_after"`     // seconds, with Status
	ReadOnly   bool            `json:"read_only_token"` // refuses writes as for a pull request of a fork
}

// New seeds GitHub.
func New(a *account.Account) *Server {
	s := &Server{account: a}
	s.Reset()
	return s
}

// Reset puts GitHub back to its seed.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state{
		nextID: 1_000_000,
		pulls: map[int]*Pull{settings.PullRequest: {
			Number: settings.PullRequest, State: "open", Title: "Show the tasks of today", SHA: HeadSHA,
		}},
		used: map[string]int{},
	}
}

// newID gives the next number of an object. The lock is held.
func (s *Server) newID() int64 {
	s.state.nextID++
	return s.state.nextID
}

// SetTrouble replaces what is wrong.
func (s *Server) SetTrouble(trouble Trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.trouble = trouble
}

// SetPull changes a pull request; it says whether there is one with this number.
func (s *Server) SetPull(number int, change func(*Pull)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pull, found := s.state.pulls[number]
	if found {
		change(pull)
	}
	return found
}

// AddComment adds a comment of anybody.
func (s *Server) AddComment(issue int, author, body string) Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().UTC().Truncate(time.Second)
	comment := Comment{ID: s.newID(), Issue: issue, Author: author, Body: body, Created: now, Updated: now}
	s.state.comments = append(s.state.comments, comment)
	return comment
}

// Comments lists all comments on a pull request, oldest first.
func (s *Server) Comments(issue int) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.state.comments), func(c Comment) bool { return c.Issue != issue })
}

// DeleteComment removes a comment, as its author or a maintainer would; it says whether it was there.
func (s *Server) DeleteComment(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.state.comments)
	s.state.comments = slices.DeleteFunc(s.state.comments, func(c Comment) bool { return c.ID == id })
	return len(s.state.comments) < before
}

// Handler answers the API, also under /api/v3, where GitHub Enterprise Server has it.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, work := range s.routes() {
		mux.Handle(pattern, s.serve(work))
	}
	mux.Handle("/", s.serve(sayUnknown))
	outer := http.NewServeMux()
	outer.Handle("/api/v3/", http.StripPrefix("/api/v3", mux))
	outer.Handle("/", mux)
	return outer
}

// routes is everything that is answered.
func (s *Server) routes() map[string]work {
	return map[string]work{
		"GET /user":                                                 s.getUser,
		"GET /rate_limit":                                           s.getRateLimit,
		"POST /graphql":                                             s.viewer,
		"GET /repos/{owner}/{repo}":                                 s.getRepository,
		"GET /repos/{owner}/{repo}/pulls":                           s.listPulls,
		"GET /repos/{owner}/{repo}/pulls/{number}":                  s.getPull,
		"GET /repos/{owner}/{repo}/issues/{number}/{id}":            onIssues(s.listComments, s.getComment),
		"POST /repos/{owner}/{repo}/issues/{number}/{id}":           onIssues(s.createComment, sayUnknown),
		"PATCH /repos/{owner}/{repo}/issues/{number}/{id}":          onIssues(sayUnknown, s.updateComment),
		"DELETE /repos/{owner}/{repo}/issues/{number}/{id}":         onIssues(sayUnknown, s.deleteComment),
		"GET /repos/{owner}/{repo}/collaborators/{user}/permission": s.getPermission,
		"GET /repos/{owner}/{repo}/deployments":                     s.listDeployments,
		"POST /repos/{owner}/{repo}/deployments":                    s.createDeployment,
		"GET /repos/{owner}/{repo}/deployments/{id}":                s.getDeployment,
		"GET /repos/{owner}/{repo}/deployments/{id}/statuses":       s.listDeploymentStatuses,
		"POST /repos/{owner}/{repo}/deployments/{id}/statuses":      s.createDeploymentStatus,
		"POST /repos/{owner}/{repo}/statuses/{sha}":                 s.createCommitStatus,
		"GET /repos/{owner}/{repo}/commits/{ref}/statuses":          s.listCommitStatuses,
	}
}

// onIssues chooses between `issues/NUMBER/comments`, the list on an issue, and `issues/comments/ID`, one comment: as
// patterns of http.ServeMux the two would contradict each other.
func onIssues(list, one work) work {
	return func(c *call) (int, any, error) {
		switch {
		case c.request.PathValue("number") == "comments":
			return one(c)
		case c.request.PathValue("id") == "comments":
			return list(c)
		}
		return sayUnknown(c)
	}
}

// sayUnknown answers what the sandbox does not know, as GitHub answers what it does not.
func sayUnknown(c *call) (int, any, error) {
	c.note = "unknown route"
	return 0, nil, errNotFound
}
