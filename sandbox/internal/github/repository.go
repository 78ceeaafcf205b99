package github

import (
	"hash/fnv"
	"net/http"
	"slices"
	"strings"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// page addresses for people.
const website = "https://github.com/"

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
	return http.StatusOK, wireUser(c, c.login), nil
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
	return http.StatusOK, map[string]any{"resources": map[string]any{"core": core}, "rate": core}, nil
}

// wireRepository makes the answer for the repository.
func wireRepository(c *call) map[string]any {
	owner, name, _ := strings.Cut(settings.GitHubRepo, "/")
	return map[string]any{
		"id": 42, "node_id": "R_42", "name": name, "full_name": settings.GitHubRepo, "private": false, "fork": false,
		"owner": wireUser(c, owner), "html_url": website + settings.GitHubRepo, "description": nil,
		"url": c.base() + "/repos/" + settings.GitHubRepo, "default_branch": "main", "visibility": "public",
		"permissions": map[string]bool{"admin": false, "maintain": false, "push": true, "triage": true, "pull": true},
	}
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

// wirePull makes the answer for one pull request.
func wirePull(c *call, p Pull) map[string]any {
	number := itoa(int64(p.Number))
	api, page := c.base()+"/repos/"+settings.GitHubRepo, website+settings.GitHubRepo+"/pull/"+number
	owner, _, _ := strings.Cut(settings.GitHubRepo, "/")
	branch := func(ref, sha string) map[string]any {
		return map[string]any{"label": owner + ":" + ref, "ref": ref, "sha": sha, "user": wireUser(c, owner), "repo": wireRepository(c)}
	}
	return map[string]any{
		"id": 4200 + p.Number, "node_id": "PR_" + number, "number": p.Number, "state": p.State, "locked": false, "title": p.Title,
		"user": wireUser(c, User), "body": nil, "labels": []any{}, "assignees": []any{}, "draft": p.Draft, "merged": p.Merged,
		"merge_commit_sha": nil, "mergeable": true, "author_association": "CONTRIBUTOR",
		"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "closed_at": nil, "merged_at": nil,
		"url": api + "/pulls/" + number, "html_url": page, "diff_url": page + ".diff", "patch_url": page + ".patch",
		"issue_url": api + "/issues/" + number, "comments_url": api + "/issues/" + number + "/comments",
		"commits_url": api + "/pulls/" + number + "/commits", "statuses_url": api + "/statuses/" + p.SHA,
		"review_comments_url": api + "/pulls/" + number + "/comments", "review_comment_url": api + "/pulls/comments{/number}",
		"head": branch(HeadRef, p.SHA), "base": branch("main", BaseSHA),
	}
}

// pull finds the pull request of a call's path.
func (s *Server) pull(c *call) (Pull, error) {
	number, err := c.number("number")
	if err != nil {
		return Pull{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pull, found := s.state.pulls[int(number)]
	if !found {
		return Pull{}, errNotFound
	}
	return *pull, nil
}

// getPull answers with one pull request.
func (s *Server) getPull(c *call) (int, any, error) {
	pull, err := s.pull(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, wirePull(c, pull), nil
}

// listPulls lists pull requests by state and by head, `OWNER:BRANCH`.
func (s *Server) listPulls(c *call) (int, any, error) {
	query := c.request.URL.Query()
	s.mu.Lock()
	var numbers []int
	for number := range s.state.pulls {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	wires := []map[string]any{}
	for _, number := range numbers {
		pull := *s.state.pulls[number]
		state, head := query.Get("state"), query.Get("head")
		if state == "" {
			state = "open"
		}
		if (state == "all" || state == pull.State) && (head == "" || strings.HasSuffix(head, ":"+HeadRef)) {
			wires = append(wires, wirePull(c, pull))
		}
	}
	s.mu.Unlock()
	return http.StatusOK, page(c, wires), nil
}
