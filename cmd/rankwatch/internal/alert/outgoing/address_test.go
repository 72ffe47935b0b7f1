package outgoing_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
)

func TestWhichAddressesArePublic(t *testing.T) {
	t.Parallel()
	const public = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 " +
		"168.63.129.15 168.63.129.17 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 " +
		"2001:4860:4860::8888 2606:4700::1111 2a00:1450:4001::1 2001:200::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8"
	const private = "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.255 168.63.129.16 " +
		"169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.0 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 " +
		"198.18.0.0 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 " +
		":: ::1 ::7f00:1 fe80::1 fe80::1%eth0 2606:4700::1111%eth0 fec0::1 fc00::1 fd00:ec2::254 fdff::1 ff02::1 ff0e::1 100::1 " +
		"2001::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 4000::1 5f00::1 " +
		"::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8"
	for _, s := range strings.Fields(public) {
		if err := outgoing.Check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s is public: %v", s, err)
		}
	}
	for _, s := range strings.Fields(private) {
		if err := outgoing.Check(netip.MustParseAddr(s)); !errors.Is(err, outgoing.ErrAddress) {
			t.Errorf("%s is not public: %v", s, err)
		}
	}
	if err := outgoing.Check(netip.Addr{}); !errors.Is(err, outgoing.ErrAddress) {
		t.Errorf("no address: %v", err)
	}
}

// The rule of the standard library, which knows less, never refuses what passes;
// and an IPv4 address gets the same verdict in every form that leads to it.
func TestNothingPrivatePasses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Uint32(), rapid.Custom(func(t *rapid.T) uint32 {
			net := rapid.SampledFrom([]string{"10.0.0.0", "127.0.0.0", "169.254.0.0", "172.16.0.0", "192.168.0.0", "224.0.0.0", "100.64.0.0", "198.18.0.0"}).Draw(t, "net")
			a := netip.MustParseAddr(net).As4()
			return binary.BigEndian.Uint32(a[:]) + rapid.Uint32Range(0, 1<<17).Draw(t, "host")
		})).Draw(t, "address")
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], n)
		v4 := netip.AddrFrom4(four)
		ok := outgoing.Check(v4) == nil
		if ok && (!v4.IsGlobalUnicast() || v4.IsPrivate() || v4.IsLoopback() || v4.IsLinkLocalUnicast()) {
			t.Fatalf("%s passes", v4)
		}
		mapped, six := netip.AddrFrom16(v4.As16()), [16]byte{0, 0x64, 0xff, 0x9b}
		copy(six[12:], four[:])
		for _, a := range []netip.Addr{mapped, netip.AddrFrom16(six)} {
			if (outgoing.Check(a) == nil) != ok {
				t.Fatalf("%s and %s differ", a, v4)
			}
		}
		// 6to4, and the address as the last bytes of reserved space.
		for _, a := range []netip.Addr{netip.AddrFrom16([16]byte{0x20, 2, four[0], four[1], four[2], four[3]}), netip.AddrFrom16([16]byte{12: four[0], 13: four[1], 14: four[2], 15: four[3]})} {
			if outgoing.Check(a) == nil {
				t.Fatalf("%s passes", a)
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")))
		if outgoing.Check(a) == nil && (!a.IsGlobalUnicast() || a.IsPrivate()) {
			t.Fatalf("%s passes", a)
		}
	})
}
