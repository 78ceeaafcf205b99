package digitalocean

import (
	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// copyOf takes a part of the state out of it.
func copyOf[T any](s *server, part func(*account.State) T) T {
	var copied T
	s.account.View(func(state *account.State) { copied = account.Clone(part(state)) })
	return copied
}

// getAccount answers with the limits of the account; droplet_limit only for who may see Droplets.
func (s *server) getAccount(c *call) (reply, error) {
	found := copyOf(s, func(state *account.State) godo.Account { return state.Account })
	if !c.token.Has("droplet:read") {
		found.DropletLimit = 0
	}
	return ok(root("account", accountWire{found, found.StatusMessage}))
}

// accountWire is godo.Account with what godo leaves out when it is empty.
type accountWire struct {
	godo.Account
	StatusMessage string `json:"status_message"`
}

// listRegions lists the data centres.
func (s *server) listRegions(c *call) (reply, error) {
	return list(c, "regions", copyOf(s, func(state *account.State) []godo.Region { return state.Regions }))
}

// listSizes lists the Droplet sizes with their prices.
func (s *server) listSizes(c *call) (reply, error) {
	return list(c, "sizes", copyOf(s, func(state *account.State) []godo.Size { return state.Sizes }))
}
