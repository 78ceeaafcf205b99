package enclosure

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seaway-deploy/seaway/sandbox/internal/netns"
)

// Cable is the veth pair between the machine and an enclosure.
type Cable struct {
	Outside netip.Prefix // address of the machine's end
	Inside  netip.Prefix // address of the enclosure's end
	MTU     int          // what the machine's way out carries; interfaces behind the cable take the same
}

// insideLink is the name of the cable's end in the enclosure.
const insideLink = "cable0"

// candidates are the subnets that the cable of a slot may take: a /30 of 10.x.NUMBER.0/24.
func candidates(number, slot int) (all []netip.Prefix) {
	for _, octet := range []byte{67, 68, 69, 107, 167, 217} {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, octet, byte(number), byte(4 * slot)}), 30))
	}
	return all
}

// plug makes the cable to the process's network namespace and lets it out through the machine's default route.
func plug(config Config, pid int, inside *netns.Namespace) (Cable, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return Cable{}, fmt.Errorf("list routes: %w", err)
	}
	subnet, err := firstFree(candidates(config.Settings.Number, config.Slot), prefixes(routes))
	if err != nil {
		return Cable{}, err
	}
	uplink, mtu, err := wayOut(routes)
	if err != nil {
		return Cable{}, err
	}
	outside := subnet.Addr().Next()
	cable := Cable{netip.PrefixFrom(outside, subnet.Bits()), netip.PrefixFrom(outside.Next(), subnet.Bits()), mtu}
	if err := cable.lay(config, pid); err != nil {
		return Cable{}, err
	}
	if err := inside.Do(cable.bringUpInside); err != nil {
		return Cable{}, err
	}
	return cable, openTheWay(config, subnet, uplink)
}

// prefixes are the destinations of the routes without the default route.
func prefixes(routes []netlink.Route) (all []netip.Prefix) {
	for _, route := range routes {
		if route.Dst == nil {
			continue
		}
		address, ok := netip.AddrFromSlice(route.Dst.IP.To4())
		bits, _ := route.Dst.Mask.Size()
		if ok && bits > 0 {
			all = append(all, netip.PrefixFrom(address, bits))
		}
	}
	return all
}

// FirstFree is the first of the subnets that no route of the machine overlaps.
func FirstFree(subnets []netip.Prefix) (netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list routes: %w", err)
	}
	return firstFree(subnets, prefixes(routes))
}

// firstFree is the first of the subnets that overlaps none of the taken ones.
func firstFree(subnets, taken []netip.Prefix) (netip.Prefix, error) {
	for _, subnet := range subnets {
		if !overlaps(subnet, taken) {
			return subnet, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("each of the subnets %v overlaps a route of the machine: %v", subnets, taken)
}

// overlaps says whether the subnet shares an address with one of the taken ones.
func overlaps(subnet netip.Prefix, taken []netip.Prefix) bool {
	for _, other := range taken {
		if subnet.Overlaps(other) {
			return true
		}
	}
	return false
}

// wayOut is the interface of the default route and what it carries; no name on a machine without a way out.
func wayOut(routes []netlink.Route) (name string, mtu int, err error) {
	for _, route := range routes {
		if route.Dst != nil && route.Dst.IP.String() != "0.0.0.0" || route.LinkIndex == 0 {
			continue
		}
		link, err := netlink.LinkByIndex(route.LinkIndex)
		if err != nil {
			return "", 0, fmt.Errorf("look at the interface of the default route: %w", err)
		}
		return link.Attrs().Name, link.Attrs().MTU, nil
	}
	return "", 1500, nil
}

// lay makes the pair, with its inner end in the namespace of the process, and brings up the outer end.
func (c Cable) lay(config Config, pid int) error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: config.link(), MTU: c.MTU},
		PeerName:      insideLink,
		PeerNamespace: netlink.NsPid(pid),
		PeerMTU:       uint32(c.MTU),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add the link %s: %w", config.link(), err)
	}
	return bringUp(config.link(), c.Outside)
}

// bringUpInside does the enclosure's half: it runs in its namespace.
func (c Cable) bringUpInside() error {
	if err := bringUp("lo", netip.Prefix{}); err != nil {
		return err
	}
	if err := bringUp(insideLink, c.Inside); err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{Gw: c.Outside.Addr().AsSlice()}); err != nil {
		return fmt.Errorf("add the default route of the enclosure: %w", err)
	}
	return nil
}

// bringUp sets an interface up, with an address if there is one.
func bringUp(name string, address netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find the link %s: %w", name, err)
	}
	if address.IsValid() {
		mask := net.CIDRMask(address.Bits(), 32)
		err = netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: address.Addr().AsSlice(), Mask: mask}})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("give %s the address %s: %w", name, address, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set the link %s up: %w", name, err)
	}
	return nil
}

// unplug removes the cable and what let it out.
func unplug(config Config) error {
	link, err := netlink.LinkByName(config.link())
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		err = nil
	case err == nil:
		if err = netlink.LinkDel(link); errors.Is(err, unix.ENODEV) || errors.Is(err, os.ErrNotExist) {
			err = nil // it ended together with its namespace
		}
	}
	return errors.Join(err, closeTheWay(config))
}
