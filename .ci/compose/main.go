// Command compose holds the files that deploy has for Compose against Compose's own
// loader, and looks that each service is pinned, hardened and reachable from
// loopback only. Run it from the top.
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
	var bad []error
	for _, file := range []string{"deploy/compose.yaml", "deploy/compose.fleet.yaml"} {
		bad = append(bad, check(file))
	}
	if err := errors.Join(bad...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(file string) error {
	o, err := cli.NewProjectOptions([]string{file}, cli.WithoutEnvironmentResolution, cli.WithProfiles([]string{"*"}))
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
			bad = append(bad, fmt.Errorf("%s: %s: image %q is not pinned", file, name, s.Image))
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			bad = append(bad, fmt.Errorf("%s: %s is not hardened", file, name))
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				bad = append(bad, fmt.Errorf("%s: %s publishes %s on %q", file, name, port.Published, port.HostIP))
			}
		}
	}
	fmt.Printf("%s: %d services, valid\n", file, len(p.Services))
	return errors.Join(bad...)
}
