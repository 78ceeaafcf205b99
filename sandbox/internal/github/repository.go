package github

import (
	"hash/fnv"
	"net/http"
	"strings"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// website begins the addresses for people.
const website = "https://github.com/"

// seeded is when everything that is seeded was made.
const seeded = "2026-01-01T00:00:00Z"

// wireUser makes the short form of a user, as it is in every other object.
func wireUser(c *call, login string) map[string]any {
	name, kind := login, "User"
	if strings.HasSuffix(login, "[bot]") {
		kind = "Bot"
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(login))
	api := c.base() + "/users/" + name
	user := map[string]any{
		"login": login, "id": hash.Sum32(), "node_id": "U_" + login, "type": kind, "site_admin": false, "gravatar_id": "",
		"avatar_url": "https://avatars.githubusercontent.com/u/1", "url": api, "html_url": website + name,
		"following_url": api + "/following{/other_user}", "gists_url": api + "/gists{/gist_id}",
		"starred_url": api + "/starred{/owner}{/repo}", "events_url": api + "/events{/privacy}",
	}
	for _, list := range []string{"followers", "subscriptions", "repos", "received_events"} {
		user[list+"_url"] = api + "/" + list
	}
	user["organizations_url"] = api + "/orgs"
	return user
}

// getUser tells a person's token who it is. A workflow's token is no person, and GitHub refuses it.
func (s *Server) getUser(c *call) (int, any, error) {
	if strings.HasSuffix(c.login, "[bot]") {
		return 0, nil, errIntegration
	}
	user := wireUser(c, c.login)
	for _, count := range []string{"public_repos", "public_gists", "followers", "following"} {
		user[count] = 0
	}
	for _, unset := range []string{"name", "company", "blog", "location", "email", "hireable", "bio"} {
		user[unset] = nil
	}
	user["created_at"], user["updated_at"], user["user_view_type"] = seeded, seeded, "public"
	return http.StatusOK, user, nil
}

// viewer answers the one GraphQL query that tells any token who it is: `{viewer{login}}`.
func (s *Server) viewer(c *call) (int, any, error) {
	var request struct {
		Query string `json:"query"`
	}
	if err := c.decode(&request); err != nil {
		return 0, nil, err
	}
	if strings.Join(strings.Fields(strings.TrimPrefix(strings.TrimSpace(request.Query), "query")), "") != "{viewer{login}}" {
		c.note = "not implemented"
		return 0, nil, &failure{status: http.StatusNotImplemented, message: "the sandbox answers only the query {viewer{login}}"}
	}
	return http.StatusOK, map[string]any{"data": map[string]any{"viewer": map[string]any{"login": c.login}}}, nil
}

// getRateLimit tells where the token stands.
func (s *Server) getRateLimit(c *call) (int, any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := s.state.used[c.login]
	core := map[string]any{"limit": requestsPerHour, "used": used, "remaining": max(0, requestsPerHour-used), "reset": s.state.hourEnds.Unix()}
	return http.StatusOK, map[string]any{"resources": map[string]any{"core": core, "search": core}, "rate": core}, nil
}

// repositoryLists are the parts of a repository that have an address of their own.
var repositoryLists = []string{
	"assignees", "branches", "collaborators", "comments", "commits", "contributors", "deployments", "downloads", "events", "forks",
	"hooks", "issues", "keys", "labels", "languages", "merges", "milestones", "notifications", "pulls", "releases", "stargazers",
	"statuses", "subscribers", "subscription", "tags", "teams", "archive", "compare", "contents",
}

// wireRepository makes the answer for the repository.
func wireRepository(c *call) map[string]any {
	owner, name, _ := strings.Cut(settings.GitHubRepo, "/")
	api, page := c.base()+"/repos/"+settings.GitHubRepo, website+settings.GitHubRepo
	repository := map[string]any{
		"id": 42, "node_id": "R_42", "name": name, "full_name": settings.GitHubRepo, "private": false, "fork": false,
		"owner": wireUser(c, owner), "html_url": page, "description": nil, "url": api, "default_branch": "main", "visibility": "public",
		"permissions": map[string]bool{"admin": false, "maintain": false, "push": true, "triage": true, "pull": true},
		"clone_url":   page + ".git", "git_url": "git://github.com/" + settings.GitHubRepo + ".git", "svn_url": page,
		"ssh_url": "git@github.com:" + settings.GitHubRepo + ".git", "mirror_url": nil, "homepage": nil, "language": nil, "license": nil,
		"archived": false, "disabled": false, "has_downloads": true, "has_issues": true, "has_projects": true, "has_wiki": true,
		"has_pages": false, "has_discussions": false, "created_at": seeded, "updated_at": seeded, "pushed_at": seeded, "topics": []any{},
		"git_commits_url": api + "/git/commits{/sha}", "git_refs_url": api + "/git/refs{/sha}", "git_tags_url": api + "/git/tags{/sha}",
		"blobs_url": api + "/git/blobs{/sha}", "trees_url": api + "/git/trees{/sha}", "issue_events_url": api + "/issues/events{/number}",
		"issue_comment_url": api + "/issues/comments{/number}", "is_template": false, "allow_forking": true,
		"web_commit_signoff_required": false,
	}
	for _, list := range repositoryLists {
		repository[list+"_url"] = api + "/" + list
	}
	for _, count := range []string{"forks", "forks_count", "network_count", "open_issues", "open_issues_count", "size", "stargazers_count",
		"subscribers_count", "watchers", "watchers_count"} {
		repository[count] = 0
	}
	return repository
}

// getRepository answers with the repository.
func (s *Server) getRepository(c *call) (int, any, error) {
	return http.StatusOK, wireRepository(c), nil
}

// getPermission tells what a user may do: the two that are seeded write, anybody else reads.
func (s *Server) getPermission(c *call) (int, any, error) {
	login, permission := c.request.PathValue("user"), "read"
	if login == User || login == Bot {
		permission = "write"
	}
	return http.StatusOK, map[string]any{"permission": permission, "role_name": permission, "user": wireUser(c, login)}, nil
}
