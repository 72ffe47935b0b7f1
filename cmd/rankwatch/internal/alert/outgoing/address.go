package outgoing

import (
	"fmt"
	"net/netip"
)

// forbidden are the special-purpose ranges of the IANA registries, and what
// clouds use beside them. Of IPv6, only 2000::/3 is handed out to the public.
var forbidden = prefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carriers, and Alibaba's metadata
	"127.0.0.0/8",      // this machine
	"168.63.129.16/32", // Azure's own services
	"169.254.0.0/16",   // link-local, and most clouds' metadata
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments, and Oracle's metadata
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // relays of 6to4
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and broadcast
	"2001::/23",        // protocol assignments: Teredo, benchmarks, ORCHID
	"2001:db8::/32",    // documentation
	"2002::/16",        // 6to4, which holds an IPv4 address
	"3fff::/20",        // documentation
)

var (
	global = netip.MustParsePrefix("2000::/3")
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// Check returns an ErrAddress unless a is an address that anybody on the
// Internet could connect to. An IPv4 address inside an IPv6 one counts as what
// it is, so that networks with NAT64 work; a NAT64 prefix of a network's own
// among public addresses is not known to be one.
func Check(a netip.Addr) error {
	in := a.Unmap()
	if nat64.Contains(in) {
		b := in.As16()
		in = netip.AddrFrom4([4]byte(b[12:]))
	}
	bad := !in.IsValid() || in.Zone() != "" || in.Is6() && !global.Contains(in)
	for _, p := range forbidden {
		bad = bad || p.Contains(in)
	}
	if bad {
		return fmt.Errorf("%w: %s", ErrAddress, a)
	}
	return nil
}
