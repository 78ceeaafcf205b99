package github

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/seaway-deploy/seaway/sandbox/internal/settings"
)

// wirePull makes the answer for one pull request.
func wirePull(c *call, p Pull, comments int) map[string]any {
	number := itoa(int64(p.Number))
	api, page := c.base()+"/repos/"+settings.GitHubRepo, website+settings.GitHubRepo+"/pull/"+number
	owner, _, _ := strings.Cut(settings.GitHubRepo, "/")
	branch := func(ref, sha string) map[string]any {
		return map[string]any{"label": owner + ":" + ref, "ref": ref, "sha": sha, "user": wireUser(c, owner), "repo": wireRepository(c)}
	}
	link := func(path string) map[string]any { return map[string]any{"href": path} }
	return map[string]any{
		"_links": map[string]any{
			"self": link(api + "/pulls/" + number), "html": link(page), "issue": link(api + "/issues/" + number),
			"comments": link(api + "/issues/" + number + "/comments"), "review_comments": link(api + "/pulls/" + number + "/comments"),
			"review_comment": link(api + "/pulls/comments{/number}"), "commits": link(api + "/pulls/" + number + "/commits"),
			"statuses": link(api + "/statuses/" + p.SHA),
		},
		"assignee": nil, "milestone": nil, "auto_merge": nil, "additions": 1, "deletions": 0, "changed_files": 1, "commits": 1,
		"comments": comments, "review_comments": 0, "maintainer_can_modify": false, "mergeable_state": "clean", "merged_by": nil,
		"rebaseable": true, "active_lock_reason": nil, "requested_reviewers": []any{}, "requested_teams": []any{},
		"id": 4200 + p.Number, "node_id": "PR_" + number, "number": p.Number, "state": p.State, "locked": false, "title": p.Title,
		"user": wireUser(c, User), "body": nil, "labels": []any{}, "assignees": []any{}, "draft": p.Draft, "merged": p.Merged,
		"merge_commit_sha": nil, "mergeable": true, "author_association": "CONTRIBUTOR",
		"created_at": seeded, "updated_at": seeded, "closed_at": nil, "merged_at": nil,
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
	return http.StatusOK, wirePull(c, pull, len(s.Comments(pull.Number))), nil
}

// listPulls lists pull requests by state and by head, `OWNER:BRANCH`.
func (s *Server) listPulls(c *call) (int, any, error) {
	query := c.request.URL.Query()
	state, head := orElse(query.Get("state"), "open"), query.Get("head")
	wires := []map[string]any{}
	for _, pull := range s.Pulls() {
		if (state == "all" || state == pull.State) && (head == "" || strings.HasSuffix(head, ":"+HeadRef)) {
			wires = append(wires, wirePull(c, pull, len(s.Comments(pull.Number))))
		}
	}
	return http.StatusOK, page(c, wires), nil
}

// Pulls lists the pull requests, by number.
func (s *Server) Pulls() []Pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Pull{}
	for _, number := range slices.Sorted(maps.Keys(s.state.pulls)) {
		all = append(all, *s.state.pulls[number])
	}
	return all
}
