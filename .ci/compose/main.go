// Command compose holds deploy/compose.yaml against Compose's own loader, and
// looks that each service is pinned, hardened and reachable from loopback only. Run
// it from the top.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if err := check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check() error {
	o, err := cli.NewProjectOptions([]string{"deploy/compose.yaml"}, cli.WithoutEnvironmentResolution, cli.WithProfiles([]string{"*"}))
	if err != nil {
		return err
	}
	p, err := o.LoadProject(context.Background())
	if err != nil {
		return err
	}
	var bad []error
	for name, s := range p.Services {
		if s.Image == "" || !strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest") {
			bad = append(bad, fmt.Errorf("compose: %s: image %q is not pinned", name, s.Image))
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			bad = append(bad, fmt.Errorf("compose: %s is not hardened", name))
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				bad = append(bad, fmt.Errorf("compose: %s publishes %s on %q", name, port.Published, port.HostIP))
			}
		}
	}
	fmt.Printf("deploy/compose.yaml: %d services, valid\n", len(p.Services))
	return errors.Join(bad...)
}
