package service_test

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/service"
)

// TestMain is also the helper: called with its verb, and with an address that
// plays all services of the Internet, or `-` for none.
func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != service.Verb {
		// Tests wait for answers that do not come. The command line wins.
		if err := flag.Set("test.parallel", "8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	transport := outgoing.Transport
	if to := os.Args[2]; to != "-" {
		transport = func(outgoing.Config) http.RoundTripper {
			return &http.Transport{
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, to)
				},
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			}
		}
	}
	if err := service.Deliver(os.Stdin, os.Stdout, transport); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
