package digitalocean

import (
	"slices"
	"time"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// vpcWire is godo.VPC with what godo leaves out when it is empty or false.
type vpcWire struct {
	godo.VPC
	Description string `json:"description"`
	Default     bool   `json:"default"`
}

// vpcs lists the account's networks.
func (s *server) vpcs() []vpcWire {
	wires := []vpcWire{}
	for _, vpc := range copyOf(s, func(state *account.State) []godo.VPC { return state.VPCs }) {
		wires = append(wires, vpcWire{vpc, vpc.Description, vpc.Default})
	}
	return wires
}

// listVPCs lists them for a client.
func (s *server) listVPCs(c *call) (reply, error) { return list(c, "vpcs", s.vpcs()) }

// getVPC answers with one network.
func (s *server) getVPC(c *call) (reply, error) {
	for _, vpc := range s.vpcs() {
		if vpc.ID == c.path("id") {
			return ok(root("vpc", vpc))
		}
	}
	return reply{}, errNotFound
}

// firewalls lists the account's firewalls. They are kept and shown, and filter nothing.
func (s *server) firewalls() []godo.Firewall {
	return copyOf(s, func(state *account.State) []godo.Firewall { return state.Firewalls })
}

// listFirewalls lists them for a client.
func (s *server) listFirewalls(c *call) (reply, error) { return list(c, "firewalls", s.firewalls()) }

// getFirewall answers with one firewall.
func (s *server) getFirewall(c *call) (reply, error) {
	for _, firewall := range s.firewalls() {
		if firewall.ID == c.path("id") {
			return ok(root("firewall", firewall))
		}
	}
	return reply{}, errNotFound
}

// describeFirewall reads the body of a call that makes or changes a firewall.
func describeFirewall(c *call) (godo.Firewall, error) {
	var request godo.FirewallRequest
	if err := c.decode(&request); err != nil {
		return godo.Firewall{}, err
	}
	if request.Name == "" {
		return godo.Firewall{}, unprocessable("name can't be blank")
	}
	if len(request.InboundRules) == 0 && len(request.OutboundRules) == 0 {
		return godo.Firewall{}, unprocessable("a firewall needs a rule")
	}
	return godo.Firewall{
		Name: request.Name, Status: "succeeded", InboundRules: append([]godo.InboundRule{}, request.InboundRules...),
		OutboundRules: append([]godo.OutboundRule{}, request.OutboundRules...), DropletIDs: append([]int{}, request.DropletIDs...),
		Tags: append([]string{}, request.Tags...), PendingChanges: []godo.PendingChange{},
	}, nil
}

// createFirewall makes a firewall.
func (s *server) createFirewall(c *call) (reply, error) {
	firewall, err := describeFirewall(c)
	if err != nil {
		return reply{}, err
	}
	firewall.ID, firewall.Created = account.NewID(), s.account.Now().Format(time.RFC3339)
	err = s.account.Change(func(state *account.State) error {
		state.Firewalls = append(state.Firewalls, firewall)
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return accepted(root("firewall", firewall))
}

// updateFirewall replaces a firewall's rules.
func (s *server) updateFirewall(c *call) (reply, error) {
	firewall, err := describeFirewall(c)
	if err != nil {
		return reply{}, err
	}
	err = s.account.Change(func(state *account.State) error {
		at := indexOfFirewall(state, c.path("id"))
		if at < 0 {
			return errNotFound
		}
		firewall.ID, firewall.Created = state.Firewalls[at].ID, state.Firewalls[at].Created
		state.Firewalls[at] = firewall
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return ok(root("firewall", firewall))
}

// deleteFirewall removes a firewall.
func (s *server) deleteFirewall(c *call) (reply, error) {
	err := s.account.Change(func(state *account.State) error {
		at := indexOfFirewall(state, c.path("id"))
		if at < 0 {
			return errNotFound
		}
		state.Firewalls = slices.Delete(state.Firewalls, at, at+1)
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return gone()
}

// indexOfFirewall is where the firewall with this id is, or -1.
func indexOfFirewall(state *account.State, id string) int {
	return slices.IndexFunc(state.Firewalls, func(f godo.Firewall) bool { return f.ID == id })
}

// volumes lists the account's volumes, which the cluster's volume provisioner makes.
func (s *server) volumes() []godo.Volume {
	return copyOf(s, func(state *account.State) []godo.Volume { return state.Volumes })
}

// listVolumes lists volumes, all or those with a name or in a region.
func (s *server) listVolumes(c *call) (reply, error) {
	name, region := c.query("name"), c.query("region")
	return list(c, "volumes", slices.DeleteFunc(s.volumes(), func(v godo.Volume) bool {
		return name != "" && v.Name != name || region != "" && (v.Region == nil || v.Region.Slug != region)
	}))
}

// getVolume answers with one volume.
func (s *server) getVolume(c *call) (reply, error) {
	for _, volume := range s.volumes() {
		if volume.ID == c.path("id") {
			return ok(root("volume", volume))
		}
	}
	return reply{}, errNotFound
}
