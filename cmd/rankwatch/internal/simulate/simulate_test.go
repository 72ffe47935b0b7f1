package simulate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

// A running verb, in this process.
type running struct {
	t     *testing.T
	url   string
	token string
	lines []string
	errs  bytes.Buffer
	stop  context.CancelFunc
	done  chan error
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &running{t: t, stop: stop, done: make(chan error, 1)}
	cmd := Command()
	out, in := io.Pipe()
	cmd.SetOut(in)
	cmd.SetErr(&r.errs)
	cmd.SetArgs(append([]string{"--listen", "127.0.0.1:0"}, args...))
	go func() {
		err := cmd.ExecuteContext(ctx)
		in.CloseWithError(err)
		r.done <- err
	}()
	scanner := bufio.NewScanner(out)
	for range 4 {
		if !scanner.Scan() {
			t.Fatalf("it ended: %v", scanner.Err())
		}
		r.lines = append(r.lines, scanner.Text())
	}
	r.url = strings.TrimPrefix(r.lines[0], "simulator listening url=")
	r.token = strings.TrimPrefix(r.lines[3], "  export RANKWATCH_FASTMOSS_TOKEN=")
	return r
}

func (r *running) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("it ended with %v", err)
	}
}

func (r *running) ask(body string) string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url+simulator.Path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(raw)
}

// TestTheExamplesCallWorks sends the very body that the help shows.
func TestTheExamplesCallWorks(t *testing.T) {
	r := start(t)
	body := regexp.MustCompile(`(?s)-d '([^']*)'`).FindStringSubmatch(examples)
	if body == nil {
		t.Fatal("the help has no call")
	}
	for _, part := range []string{simulator.Path, "Bearer " + simulator.DefaultToken, "Content-Type: application/json", "127.0.0.1:8090"} {
		if !strings.Contains(examples, part) {
			t.Errorf("the example lacks %s", part)
		}
	}
	var a struct {
		Code int
		Data struct {
			List  []json.RawMessage
			Total int
			Type  string `json:"date_type"`
		}
	}
	raw := r.ask(body[1])
	if err := json.Unmarshal([]byte(raw), &a); err != nil {
		t.Fatal(err)
	}
	if a.Code != 0 || len(a.Data.List) != 3 || a.Data.Total < 100 || a.Data.Type != "month" {
		t.Errorf("answer %s", raw)
	}
	r.end()
	if got, want := r.errs.String(), "simulator stopped calls=1 charged=1 rows=3 faults=0 refused=0\n"; got != want {
		t.Errorf("it said %q at the end, want %q", got, want)
	}
}

func TestTheFlagsReachTheSimulator(t *testing.T) {
	us := `{"filter":{"region":"US"},"pagesize":5}`
	for _, tt := range []struct {
		name  string
		args  []string
		body  string
		holds string
	}{
		{"now and lag", []string{"--now", "2026-04-02", "--lag", "72h"}, us, `"date_value":"2026-02"`},
		{"now to the second", []string{"--now", "2026-04-02T00:00:00Z", "--lag", "24h"}, us, `"date_value":"2026-03"`},
		{"ids", []string{"--ids", "number"}, us, `"uid":6`},
		{"totals", []string{"--totals", "string"}, us, `"total":"`},
		{"message", []string{"--message", "msg"}, us, `"msg":""`},
		{"unpublished", []string{"--unpublished-empty"}, `{"filter":{"date_info":{"type":"month","value":"2999-01"}}}`, `"list":[],"total":0`},
		{"published", nil, `{"filter":{"date_info":{"type":"month","value":"2999-01"}}}`, `"code":20001`},
		{"table fields", []string{"--table-fields"}, us, `"creator_usd_gmv"`},
		{"a fault", []string{"--fault", "30003"}, us, `"code":30003`},
		{"a fault elsewhere", []string{"--fault", "30003:1:region=GB"}, us, `"code":0`},
		{"the first of two", []string{"--fault", "40001-200", "--fault", "30003"}, us, `"code":40001`},
		{"quota", []string{"--quota", "1"}, us, `"code":30002`},
		{"rate", []string{"--rate", "0.001"}, us, `"code":30003`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, tt.args...)
			raw := r.ask(tt.body)
			if tt.name == "quota" || tt.name == "rate" {
				raw = r.ask(tt.body)
			}
			if !strings.Contains(raw, tt.holds) {
				t.Errorf("no %s in %.300s", tt.holds, raw)
			}
			r.end()
		})
	}
}

func TestTokens(t *testing.T) {
	r := start(t, "--token", "it's", "--token", "second", "--bad-token", "1002")
	if r.token != `'it'\''s'` {
		t.Errorf("it says %q", r.token)
	}
	for token, holds := range map[string]string{"it's": `"code":0`, "second": `"code":0`, simulator.DefaultToken: `"code":1002`} {
		r.token = token
		if raw := r.ask(`{"pagesize":1}`); !strings.Contains(raw, holds) {
			t.Errorf("token %s: %.200s", token, raw)
		}
	}
	r.end()
}

func TestTheSeedDecides(t *testing.T) {
	ask := func(args ...string) string {
		r := start(t, append(args, "--step", "0", "--now", "2026-04-14")...)
		defer r.end()
		raw, _, _ := strings.Cut(r.ask(`{"pagesize":20}`), `"message"`)
		return raw
	}
	one := ask("--seed", "1")
	if one != ask() || one == ask("--seed", "2") {
		t.Error("the seed does not decide what is answered")
	}
}

func TestItEndsCleanlyWhileACallHangs(t *testing.T) {
	r := start(t, "--fault", "hung")
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"pagesize":1}`
	request := "POST " + simulator.Path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + r.token +
		"\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	// The server asks for the body when the handler reads it: so the call is in hand.
	reply := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, reply); err != nil || !strings.Contains(string(reply), "100 Continue") {
		t.Fatalf("%s, %v", reply, err)
	}
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	r.end()
	if rest, _ := io.ReadAll(conn); len(rest) > 0 {
		t.Errorf("the call was answered: %s", rest)
	}
}

func TestFaultFiles(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []simulator.Fault
		says       string
	}{
		{
			"yaml", "faults:\n  - kind: 30003\n    rate: 0.2\n    burst: 5\n  - {kind: slow, delay: 1m30s, page: 2, region: US, sticky: true}\n",
			[]simulator.Fault{
				{Kind: simulator.Throttled, Rate: 0.2, Burst: 5},
				{Kind: simulator.Slow, Rate: 1, Delay: 90 * time.Second, Page: 2, Region: "US", Sticky: true},
			}, "",
		},
		{
			"json", `{"faults": [{"kind": "reset", "after": 100, "for": 10, "every": 2}]}`,
			[]simulator.Fault{{Kind: simulator.Reset, Rate: 1, After: 100, For: 10, Every: 2}}, "",
		},
		{"unknown key", "faults:\n  - kind: reset\n    ratio: 0.2\n", nil, "ratio"},
		{"unknown key on top", "fault: []\n", nil, "fault"},
		{"unknown kind", "faults: [{kind: reset}, {kind: typo}]\n", nil, "entry 2"},
		{"rate 0", "faults: [{kind: reset, rate: 0}]\n", nil, "rate"},
		{"no kind", "faults: [{rate: 1}]\n", nil, "kind"},
		{"not a number", "faults: [{kind: reset, after: soon}]\n", nil, "soon"},
		{"empty", "", nil, "no faults"},
		{"not YAML", "faults: [", nil, "faults: ["},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "faults")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readFaults(path)
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, %v; want an error about %s", got, err, tt.says)
				}
				return
			}
			if err != nil || len(got) != len(tt.want) {
				t.Fatalf("got %+v, %v", got, err)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("fault %d is %+v, want %+v", i, got[i], tt.want[i])
				}
			}
		})
	}
}

func TestFlagsFileAndRateAreJoinedInThatOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "faults.yaml")
	if err := os.WriteFile(path, []byte("faults: [{kind: cut}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := options{faults: []string{"reset", "hung:0.5"}, faultFile: path, faultRate: 0.4}.allFaults()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, f := range got {
		kinds = append(kinds, string(f.Kind))
	}
	if strings.Join(kinds, " ") != "reset hung cut mixed" || got[3].Rate != 0.4 {
		t.Errorf("got %+v", got)
	}
}

func TestMistakesAreOfTheUser(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		args []string
		says []string
	}{
		{[]string{"--ties", "wild", "--ids", "roman"}, []string{"ties", "wild", "ids", "roman"}},
		{[]string{"--fault", "typo", "--fault-rate", "2", "--faults", "/nonexistent", "--now", "soon", "--step", "-1s", "--lag", "-1s", "--token", ""},
			[]string{"--fault:", "typo", "--fault-rate 2", "/nonexistent", "--now", "--step", "lag", "--token"}},
		{[]string{"--fault-rate", "-0.1"}, []string{"--fault-rate"}},
		{[]string{"--fault-rate", "NaN"}, []string{"--fault-rate"}},
		{[]string{"--quota", "-1", "--rate", "-1", "--bad-token", "3"}, []string{"quota", "rate", "bad token"}},
		{[]string{"--listen", taken.Addr().String()}, []string{taken.Addr().String(), "in use", "port 0"}},
		{[]string{"--listen", "nonsense"}, []string{"nonsense"}},
	} {
		var out bytes.Buffer
		cmd := Command()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetOut(&out)
		cmd.SetArgs(tt.args)
		err := cmd.ExecuteContext(t.Context())
		if !errors.As(err, new(*exit.UsageError)) {
			t.Errorf("%v: %v is not an error of the user", tt.args, err)
			continue
		}
		for _, s := range tt.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%v: %q is not in: %v", tt.args, s, err)
			}
		}
		if out.Len() > 0 {
			t.Errorf("%v: it said %s", tt.args, out.String())
		}
	}
}

func TestHelpNamesEachKindOfFault(t *testing.T) {
	var out bytes.Buffer
	cmd := Command()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--help"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(out.String())
	named := map[string]bool{}
	for _, w := range words {
		named[w] = true
	}
	for _, k := range simulator.Kinds() {
		if !named[string(k)] {
			t.Errorf("%s is not in the help", k)
		}
	}
	for line := range strings.Lines(about + kinds()) {
		if len(line) > 90 {
			t.Errorf("a line of %d: %s", len(line), line)
		}
	}
}

func TestChoicesAreCompleted(t *testing.T) {
	for flag, value := range map[string]string{
		"ties": "rotate", "ids": "mixed", "totals": "string", "message": "msg", "bad-token": "1002", "fault": "html-200",
	} {
		var out bytes.Buffer
		cmd := Command()
		cmd.SetOut(&out)
		cmd.SetErr(io.Discard)
		cmd.SetArgs([]string{"__complete", "--" + flag, ""})
		if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), value+"\n") {
			t.Errorf("--%s completes to %q, %v", flag, out.String(), err)
		}
	}
}
