package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestWhatTheBuildRecordedIsSaid(t *testing.T) {
	stamp := func(version string, settings ...string) *debug.BuildInfo {
		b := &debug.BuildInfo{Main: debug.Module{Version: version}}
		for _, s := range settings {
			k, v, _ := strings.Cut(s, "=")
			b.Settings = append(b.Settings, debug.BuildSetting{Key: k, Value: v})
		}
		return b
	}
	for _, tt := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, "rankwatch devel, commit unknown, go"},
		{stamp("(devel)"), "rankwatch devel, commit unknown, go"},
		{stamp("v1.2.3", "vcs.revision=0123456789abcdef"), "rankwatch v1.2.3, commit 0123456789ab, go"},
		{stamp("(devel)", "vcs.revision=0123456789abcdef", "vcs.modified=true"), "rankwatch devel, commit 0123456789ab (modified), go"},
	} {
		if got := describe(tt.info); !strings.HasPrefix(got, tt.want) {
			t.Errorf("got %q, want %q…", got, tt.want)
		}
	}
}
