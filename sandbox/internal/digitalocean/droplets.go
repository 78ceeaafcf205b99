package digitalocean

import (
	"slices"
	"strconv"

	"github.com/digitalocean/godo"

	"github.com/seaway-deploy/seaway/sandbox/internal/account"
)

// dropletWire is godo.Droplet with what godo leaves out when it is empty or false.
type dropletWire struct {
	godo.Droplet
	NextBackupWindow *struct{}     `json:"next_backup_window"` // null: no Droplet has backups
	BackupIDs        []int         `json:"backup_ids"`
	SnapshotIDs      []int         `json:"snapshot_ids"`
	Features         []string      `json:"features"`
	Locked           bool          `json:"locked"`
	Tags             []string      `json:"tags"`
	Networks         *networksWire `json:"networks"`
}

// networksWire is godo.Networks with empty lists.
type networksWire struct {
	V4 []godo.NetworkV4 `json:"v4"`
	V6 []godo.NetworkV6 `json:"v6"`
}

// wireDroplet makes the answer for one Droplet.
func wireDroplet(d godo.Droplet) dropletWire {
	return dropletWire{
		Droplet: d, BackupIDs: append([]int{}, d.BackupIDs...), SnapshotIDs: append([]int{}, d.SnapshotIDs...),
		Features: append([]string{}, d.Features...), Locked: d.Locked, Tags: append([]string{}, d.Tags...),
		Networks: &networksWire{append([]godo.NetworkV4{}, d.Networks.V4...), append([]godo.NetworkV6{}, d.Networks.V6...)},
	}
}

// listDroplets lists Droplets, all or those with a name or a tag.
func (s *server) listDroplets(c *call) (reply, error) {
	name, tag := c.query("name"), c.query("tag_name")
	wires := []dropletWire{}
	for _, droplet := range copyOf(s, func(state *account.State) []godo.Droplet { return state.Droplets }) {
		if (name == "" || droplet.Name == name) && (tag == "" || slices.Contains(droplet.Tags, tag)) {
			wires = append(wires, wireDroplet(droplet))
		}
	}
	return list(c, "droplets", wires)
}

// getDroplet answers with one Droplet.
func (s *server) getDroplet(c *call) (reply, error) {
	for _, droplet := range copyOf(s, func(state *account.State) []godo.Droplet { return state.Droplets }) {
		if strconv.Itoa(droplet.ID) == c.path("id") {
			return ok(root("droplet", wireDroplet(droplet)))
		}
	}
	return reply{}, errNotFound
}
