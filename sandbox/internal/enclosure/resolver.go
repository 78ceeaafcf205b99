package enclosure

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// resolverFiles are looked through in this order: the first one that names a server which can be reached over the
// cable counts. systemd-resolved puts itself, on a loopback address, into the first and the real servers into the second.
var resolverFiles = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// writeResolver writes a resolver configuration that works behind the cable.
func writeResolver(path string) error {
	for _, file := range resolverFiles {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the second is there on few machines
		}
		if kept, usable := withoutLoopback(string(text)); usable {
			return os.WriteFile(path, []byte(kept), 0o644)
		}
	}
	return fmt.Errorf("no name server in %s can be reached from a network namespace: name one that is not on a loopback address",
		strings.Join(resolverFiles, " or "))
}

// withoutLoopback drops the name servers on loopback addresses and says whether one remains.
func withoutLoopback(text string) (kept string, usable bool) {
	var lines []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "nameserver" {
			address, err := netip.ParseAddr(fields[1])
			if err != nil || address.IsLoopback() || !address.Is4() { // the cable carries IPv4 only
				continue
			}
			usable = true
		}
		lines = append(lines, strings.TrimRight(line, "\n"))
	}
	return strings.Join(lines, "\n") + "\n", usable
}
