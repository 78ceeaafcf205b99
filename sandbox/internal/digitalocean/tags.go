package digitalocean

import (
	"regexp"
	"slices"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// tagName is what a tag may be called.
var tagName = regexp.MustCompile(`^[a-zA-Z0-9_\-:]{1,255}$`)

// counted is how many resources of a kind carry a tag.
type counted struct {
	Count         int    `json:"count"`
	LastTaggedURI string `json:"last_tagged_uri,omitempty"`
}

// wireTag makes the answer for one tag.
func wireTag(tag account.Tag) map[string]any {
	kinds := map[string]*counted{
		"droplets": {}, "images": {}, "volumes": {}, "volume_snapshots": {}, "databases": {},
	}
	for _, resource := range tag.Resources {
		if kind, known := kinds[string(resource.Type)+"s"]; known {
			kind.Count++
			kind.LastTaggedURI = "https://api.digitalocean.com/v2/" + string(resource.Type) + "s/" + resource.ID
		}
	}
	resources := map[string]any{"count": len(tag.Resources)}
	for name, kind := range kinds {
		resources[name] = kind
		if kind.LastTaggedURI != "" {
			resources["last_tagged_uri"] = kind.LastTaggedURI
		}
	}
	return map[string]any{"name": tag.Name, "resources": resources}
}

// tags lists the account's tags.
func (s *server) tags() []account.Tag {
	return copyOf(s, func(state *account.State) []account.Tag { return state.Tags })
}

// listTags lists them for a client.
func (s *server) listTags(c *call) (reply, error) {
	wires := []map[string]any{}
	for _, tag := range s.tags() {
		wires = append(wires, wireTag(tag))
	}
	return list(c, "tags", wires)
}

// getTag answers with one tag.
func (s *server) getTag(c *call) (reply, error) {
	for _, tag := range s.tags() {
		if tag.Name == c.path("tag") {
			return ok(root("tag", wireTag(tag)))
		}
	}
	return reply{}, errNotFound
}

// createTag makes a tag. One that exists stays as it is.
func (s *server) createTag(c *call) (reply, error) {
	var request godo.TagCreateRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	if !tagName.MatchString(request.Name) {
		return reply{}, unprocessable("Name %q is invalid: letters, digits, colons, dashes and underscores, at most 255", request.Name)
	}
	var tag account.Tag
	err := s.account.Change(func(state *account.State) error {
		tag = account.Clone(*state.EnsureTag(request.Name))
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return created(root("tag", wireTag(tag)))
}

// deleteTag removes a tag from everything.
func (s *server) deleteTag(c *call) (reply, error) {
	err := s.account.Change(func(state *account.State) error {
		at := slices.IndexFunc(state.Tags, func(t account.Tag) bool { return t.Name == c.path("tag") })
		if at < 0 {
			return errNotFound
		}
		state.Tags = slices.Delete(state.Tags, at, at+1)
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return gone()
}

// tagResources puts a tag on resources. A cloud controller does so with its load balancers.
func (s *server) tagResources(c *call) (reply, error) {
	return s.changeTagged(c, func(tagged []godo.Resource, resource godo.Resource) []godo.Resource {
		if slices.Contains(tagged, resource) {
			return tagged
		}
		return append(tagged, resource)
	}, addTag)
}

// untagResources takes it off.
func (s *server) untagResources(c *call) (reply, error) {
	return s.changeTagged(c, func(tagged []godo.Resource, resource godo.Resource) []godo.Resource {
		return slices.DeleteFunc(tagged, func(r godo.Resource) bool { return r == resource })
	}, removeTag)
}

// addTag and removeTag change the tags of an object.
func addTag(tags []string, tag string) []string {
	return append(removeTag(tags, tag), tag)
}
func removeTag(tags []string, tag string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return t == tag })
}

// changeTagged changes the list of a tag's resources, and the tags of the load balancers among them.
func (s *server) changeTagged(c *call, change func([]godo.Resource, godo.Resource) []godo.Resource, onObject func([]string, string) []string) (reply, error) {
	var request godo.TagResourcesRequest
	if err := c.decode(&request); err != nil {
		return reply{}, err
	}
	if len(request.Resources) == 0 {
		return reply{}, unprocessable("resources must name one")
	}
	err := s.account.Change(func(state *account.State) error {
		tag := state.FindTag(c.path("tag"))
		if tag == nil {
			return errNotFound
		}
		for _, resource := range request.Resources {
			tag.Resources = change(tag.Resources, resource)
			for i := range state.Balancers {
				if balancer := &state.Balancers[i]; resource.Type == godo.LoadBalancerResourceType && balancer.ID == resource.ID {
					balancer.Tags = onObject(balancer.Tags, tag.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return gone()
}
