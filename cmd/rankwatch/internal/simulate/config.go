package simulate

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// config returns what the flags ask for, or all that is wrong with them. Wall is
// the present time.
func (o options) config(wall time.Time) (simulator.Config, error) {
	var errs []error
	cfg := simulator.Config{
		Seed:     o.seed,
		World:    simulator.WorldConfig{Step: o.step, Lag: o.lag},
		Tokens:   o.tokens,
		BadToken: o.badToken, Quota: o.quota, Rate: o.rate,
		Ties: simulator.Ties(o.ties), IDs: simulator.IDs(o.ids), Totals: simulator.Totals(o.totals),
		Message: simulator.Message(o.message), TableFields: o.table,
	}
	if o.step < 0 {
		errs = append(errs, fmt.Errorf("--step %v: must be 0 (stands still) or longer", o.step))
	}
	if o.step == 0 {
		cfg.World.Step = -1
	}
	if o.empty {
		cfg.Unpublished = simulator.UnpublishedEmpty
	}
	for _, t := range o.tokens {
		if t == "" || strings.ContainsAny(t, " \t\r\n") {
			errs = append(errs, errors.New("--token: must not be empty or have spaces in it"))
		}
	}
	if o.now != "" {
		start, err := parseTime(o.now)
		if err != nil {
			errs = append(errs, err)
		}
		cfg.Now = func() time.Time { return start.Add(time.Since(wall)) }
	}
	faults, err := o.allFaults()
	if err != nil {
		errs = append(errs, err)
	}
	if err := cfg.Validate(); err != nil {
		errs = append(errs, err)
	}
	cfg.Faults = faults
	return cfg, errors.Join(errs...)
}

// allFaults joins those of the flags, of the file and of the rate, in that
// order.
func (o options) allFaults() ([]simulator.Fault, error) {
	var errs []error
	var faults []simulator.Fault
	for _, s := range o.faults {
		f, err := simulator.ParseFault(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("--fault: %w", err))
		}
		faults = append(faults, f)
	}
	if o.faultFile != "" {
		more, err := readFaults(o.faultFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("--faults %s: %w", o.faultFile, err))
		}
		faults = append(faults, more...)
	}
	if o.faultRate != 0 {
		f := simulator.Fault{Kind: simulator.Mixed, Rate: o.faultRate}
		if err := f.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("--fault-rate %v: must be 0 to 1", o.faultRate))
		}
		faults = append(faults, f)
	}
	return faults, errors.Join(errs...)
}

// A fileFault is a fault in a file: its rate is 1 unless given.
type fileFault simulator.Fault

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (f *fileFault) UnmarshalYAML(unmarshal func(any) error) error {
	type plain fileFault
	p := plain{Rate: 1}
	if err := unmarshal(&p); err != nil {
		return err
	}
	*f = fileFault(p)
	return nil
}

// readFaults reads a file of the form {faults: [{kind: …}, …]}; JSON is YAML
// too. An unknown key is an error.
func readFaults(path string) ([]simulator.Fault, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Faults []fileFault `yaml:"faults"`
	}
	if err := yaml.UnmarshalWithOptions(raw, &file, yaml.Strict()); err != nil {
		return nil, err
	}
	if len(file.Faults) == 0 {
		return nil, errors.New("no faults in it; write faults: [{kind: reset, rate: 0.1}]")
	}
	var errs []error
	faults := make([]simulator.Fault, len(file.Faults))
	for i, f := range file.Faults {
		faults[i] = simulator.Fault(f)
		if err := faults[i].Validate(); err != nil {
			errs = append(errs, fmt.Errorf("entry %d: %w", i+1, err))
		}
	}
	return faults, errors.Join(errs...)
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--now %q: must be RFC 3339 or a date, as 2026-04-14T17:00:00Z or 2026-04-14", s)
}

func kindList() []string {
	var names []string
	for _, k := range simulator.Kinds() {
		names = append(names, string(k))
	}
	return names
}

// kinds returns the kinds of fault in lines that fit a terminal.
func kinds() string {
	var b strings.Builder
	width := len("Kinds: ")
	for i, name := range kindList() {
		switch {
		case i > 0 && width+1+len(name) > 80:
			b.WriteByte('\n')
			width = 0
		case i > 0:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(name)
		width += len(name)
	}
	return b.String()
}

// shellQuote makes s one word of a shell.
func shellQuote(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=+", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
