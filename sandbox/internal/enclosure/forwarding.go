package enclosure

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/vishvananda/netlink"
)

// rule is one firewall rule: its table, its chain, and what follows.
type rule struct {
	table, chain string
	place        string // -I before the rules of others, -A behind them
	match        []string
}

// rules let packets from the subnet out under the machine's address, and the answers back in. They stand before those
// of other programs: a Docker Engine on the machine sets the policy of FORWARD to DROP.
func rules(config Config, subnet netip.Prefix) []rule {
	link := config.link()
	return []rule{
		{"nat", "POSTROUTING", "-A", []string{"-s", subnet.String(), "!", "-o", link, "-j", "MASQUERADE"}},
		{"filter", "FORWARD", "-I", []string{"-i", link, "-j", "ACCEPT"}},
		{"filter", "FORWARD", "-I", []string{"-o", link, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"}},
	}
}

// openTheWay adds the rules and lets the two interfaces, and no others, forward packets.
func openTheWay(config Config, subnet netip.Prefix, uplink string) error {
	for _, rule := range rules(config, subnet) {
		arguments := append([]string{"-t", rule.table, rule.place, rule.chain, "-m", "comment", "--comment", config.Tag()}, rule.match...)
		if _, err := iptables(arguments...); err != nil {
			return err
		}
	}
	if err := os.WriteFile(forwardingSwitch(config.link()), []byte("1"), 0o644); err != nil {
		return fmt.Errorf("let %s forward packets: %w", config.link(), err)
	}
	if uplink == "" {
		return nil
	}
	return forwardUplink(config, uplink)
}

// closeTheWay removes the rules that carry the tag, and the forwarding of the uplink if this was the last cable.
func closeTheWay(config Config) error {
	for _, place := range [][2]string{{"nat", "POSTROUTING"}, {"filter", "FORWARD"}} {
		listed, err := iptables("-t", place[0], "-S", place[1])
		if err != nil {
			return err
		}
		for _, line := range taggedRules(listed, config.Tag()) {
			if _, err := iptables(append([]string{"-t", place[0], "-D"}, line...)...); err != nil {
				return err
			}
		}
	}
	return restoreUplinks(config)
}

// taggedRules picks the rules with this comment out of `iptables -S`, each as words without the leading -A.
func taggedRules(listed, tag string) (found [][]string) {
	for line := range strings.Lines(listed) {
		words := strings.Fields(line)
		for i, word := range words {
			if word == "--comment" && i+1 < len(words) && words[i+1] == tag {
				found = append(found, words[1:])
				break
			}
		}
	}
	return found
}

// iptables runs one command and waits for other programs that hold its lock.
func iptables(arguments ...string) (string, error) {
	command := exec.Command("iptables", append([]string{"-w"}, arguments...)...)
	var problem strings.Builder
	command.Stderr = &problem
	output, err := command.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("iptables is not installed: `apt-get install iptables`")
	}
	if err != nil {
		return "", fmt.Errorf("iptables %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(problem.String()))
	}
	return string(output), nil
}

// forwardingSwitch is the kernel's switch for packets that come in by this interface and go out by another.
func forwardingSwitch(link string) string {
	return "/proc/sys/net/ipv4/conf/" + link + "/forwarding"
}

// forwardingNotes is the folder that remembers, by file names, which interfaces a sandbox let forward. It is shared by
// all sandboxes: the last to leave switches them back.
func forwardingNotes(config Config) string { return filepath.Join(config.Settings.Cache, "forwarding") }

// forwardUplink lets answers come back in by the uplink, and notes it when that was off.
func forwardUplink(config Config, uplink string) error {
	state, err := os.ReadFile(forwardingSwitch(uplink))
	if err != nil || strings.TrimSpace(string(state)) == "1" {
		return err
	}
	if err := os.MkdirAll(forwardingNotes(config), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(forwardingNotes(config), uplink), nil, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(forwardingSwitch(uplink), []byte("1"), 0o644); err != nil {
		return fmt.Errorf("let %s forward packets: %w", uplink, err)
	}
	return nil
}

// cableName is how every sandbox names its end of a cable.
var cableName = regexp.MustCompile(`^sw\d+-`)

// restoreUplinks switches noted interfaces back once no cable is left. When forwarding is on for the whole machine,
// somebody else wants it by now, and it stays.
func restoreUplinks(config Config) error {
	notes, err := os.ReadDir(forwardingNotes(config))
	if err != nil || len(notes) == 0 {
		return nil // no folder: nothing was ever noted
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, link := range links {
		if cableName.MatchString(link.Attrs().Name) {
			return nil
		}
	}
	whole, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return err
	}
	for _, note := range notes {
		if strings.TrimSpace(string(whole)) == "0" {
			if err := os.WriteFile(forwardingSwitch(note.Name()), []byte("0"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		if err := os.Remove(filepath.Join(forwardingNotes(config), note.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
