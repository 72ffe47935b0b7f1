// Package version is the verb that says which build this is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Command returns the verb.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print version, commit and Go version",
		Example: "  rankwatch version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), String())
			return err
		},
	}
}

// release is set by the linker where a build knows no repository, as in a container.
var release string

// Number is the version alone, such as v1.2.3, or `devel`.
func Number() string {
	info, _ := debug.ReadBuildInfo()
	return number(info)
}

func number(info *debug.BuildInfo) string {
	if release != "" {
		return release
	}
	if info == nil || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// String returns version, commit and Go version in one line. What the build
// did not record is `devel` or `unknown`.
func String() string {
	info, _ := debug.ReadBuildInfo()
	return describe(info)
}

// Commit is what the build was made of, 12 digits or `unknown`; with ` (modified)`
// behind it if something was changed.
func Commit() string {
	info, _ := debug.ReadBuildInfo()
	return commit(info)
}

func commit(info *debug.BuildInfo) string {
	commit, dirty := "unknown", ""
	if info != nil {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				commit = s.Value[:12]
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = " (modified)"
			}
		}
	}
	return commit + dirty
}

func describe(info *debug.BuildInfo) string {
	return fmt.Sprintf("rankwatch %s, commit %s, %s %s/%s", number(info), commit(info), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
