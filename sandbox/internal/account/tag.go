package account

import (
	"slices"

	"github.com/digitalocean/godo"
)

// Tag is a label that resources of several kinds can share.
type Tag struct {
	Name      string          `json:"name"`
	Resources []godo.Resource `json:"resources"`
}

// FindTag gives the tag with this name for reading and changing, or nil.
func (s *State) FindTag(name string) *Tag {
	at := slices.IndexFunc(s.Tags, func(t Tag) bool { return t.Name == name })
	if at < 0 {
		return nil
	}
	return &s.Tags[at]
}

// EnsureTag is FindTag that makes the tag if there is none, as creating a tagged resource does.
func (s *State) EnsureTag(name string) *Tag {
	if tag := s.FindTag(name); tag != nil {
		return tag
	}
	s.Tags = append(s.Tags, Tag{Name: name, Resources: []godo.Resource{}})
	return &s.Tags[len(s.Tags)-1]
}
