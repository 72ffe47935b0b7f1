package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// backedUp is a worker that published something and ended, and its backup.
func backedUp(t *testing.T) (*process, []byte) {
	t.Helper()
	p := start(t)
	boards := subscribe(t, fmt.Sprint(p.wait("nats listening")["url"]), "rankwatch.*.us.board")
	for range 3 {
		next(t, boards)
	}
	p.signal(syscall.SIGTERM)
	if code := p.end(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	_, said := p.verb(0, nil, "backup", "b.tar.zst")
	if !strings.Contains(said, "b.tar.zst: ") || !strings.Contains(said, " messages up to sequence ") {
		t.Errorf("backup said: %s", said)
	}
	if _, err := os.Stat(filepath.Join(p.cmd.Dir, "data", "state.db")); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(filepath.Join(p.cmd.Dir, "b.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	return p, data
}

// verb runs another verb with the process's settings and returns what it wrote.
func (p *process) verb(code int, env []string, args ...string) (out, errs string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "rankwatch", args...)
	cmd.Dir, cmd.Env = p.cmd.Dir, slices.Concat(p.cmd.Env, env)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	if cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%q: exit code %d, want %d: %s", args, got, code, e.String())
	}
	return o.String(), e.String()
}

// put writes a file beside the data directory.
func (p *process) put(name string, data []byte) string {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.cmd.Dir, name), data, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return name
}

func (p *process) missing(name string) {
	p.t.Helper()
	if _, err := os.Stat(filepath.Join(p.cmd.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
		p.t.Errorf("%s is there: %v", name, err)
	}
}

func in(dir string) []string { return []string{"RANKWATCH_DATA_DIR=" + dir} }

// A member is one entry of a backup file.
type member struct {
	name string
	data []byte
}

func unpacked(t *testing.T, data []byte) []member {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var out []member
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, member{h.Name, b})
	}
}

func repacked(t *testing.T, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, m := range members {
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.data)), Mode: 0o600})
		if err == nil {
			_, err = w.Write(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBackupAtRestAndBack(t *testing.T) {
	t.Parallel()
	p, data := backedUp(t)
	var names []string
	for _, m := range unpacked(t, data) {
		names = append(names, m.name)
	}
	if want := []string{"state.db", "stream/backup.json", "stream/stream.arc.s2", "manifest.json"}; !slices.Equal(names, want) {
		t.Errorf("the file holds %q, want %q", names, want)
	}
	before, _ := p.verb(0, nil, "replay", "-o", "json")

	_, said := p.verb(0, in("new"), "restore", "b.tar.zst")
	if !strings.Contains(said, "restored into new") || !strings.Contains(said, `baseline "restored"`) {
		t.Errorf("restore said: %s", said)
	}
	after, _ := p.verb(0, in("new"), "replay", "-o", "json")
	if before == "" || after != before {
		t.Errorf("%d bytes of history became %d others", len(before), len(after))
	}
	p.missing("new/restoring")
	p.verb(2, in("new"), "restore", "b.tar.zst")

	// A backup of what was restored, into a directory that exists.
	p.verb(0, in("new"), "backup", "c.tar.zst")
	if err := os.MkdirAll(filepath.Join(p.cmd.Dir, "mounted", "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.verb(0, in("mounted"), "restore", "c.tar.zst")
	again, _ := p.verb(0, in("mounted"), "replay", "-o", "json")
	if again != before {
		t.Error("the second backup differs")
	}
}

func TestRestoreOfTheStateAlone(t *testing.T) {
	t.Parallel()
	p, _ := backedUp(t)
	_, said := p.verb(0, append(in("new"), "RANKWATCH_NATS_URL=nats://127.0.0.1:1"), "restore", "b.tar.zst")
	if !strings.Contains(said, "the stream in the backup is left out") {
		t.Errorf("restore said: %s", said)
	}
	p.missing("new/jetstream")
	p.missing("new/restoring")
	p.verb(0, append(in("new"), "RANKWATCH_NATS_URL=nats://127.0.0.1:1"), "backup", "state.tar.zst")
	_, said = p.verb(0, in("other"), "restore", "state.tar.zst")
	if !strings.Contains(said, "begin a new stream") {
		t.Errorf("restore of a state alone said: %s", said)
	}
}

func TestRestoreRefusesWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	p, data := backedUp(t)
	m := unpacked(t, data)
	flipped := func(m member) member {
		d := bytes.Clone(m.data)
		d[len(d)/2] ^= 1
		return member{m.name, d}
	}
	manifest := func(old, new string) member {
		return member{m[3].name, bytes.Replace(m[3].data, []byte(old), []byte(new), 1)}
	}
	bit := bytes.Clone(data)
	bit[len(bit)/2] ^= 1
	for name, c := range map[string]struct {
		data []byte
		code int
		want string
		env  string
	}{
		"cut":        {data[:len(data)*2/3], 1, "damaged or cut off", ""},
		"cut-end":    {data[:len(data)-1], 1, "damaged or cut off", ""},
		"bit":        {bit, 1, "damaged or cut off", ""},
		"state":      {repacked(t, flipped(m[0]), m[1], m[2], m[3]), 1, "state.db is not what the manifest says", ""},
		"stream":     {repacked(t, m[0], m[1], flipped(m[2]), m[3]), 1, "stream.arc.s2 is not what the manifest says", ""},
		"missing":    {repacked(t, m[0], m[3]), 1, "backup.json is not what the manifest says", ""},
		"manifest":   {repacked(t, m[0], m[1], m[2]), 1, "no manifest", ""},
		"behind":     {repacked(t, m[0], m[1], m[2], m[3], m[0]), 1, "after the manifest", ""},
		"other-tar":  {repacked(t, member{"../evil", []byte("x")}), 2, "no backup of rankwatch", ""},
		"more":       {repacked(t, member{"../evil", []byte("x")}, m[0], m[1], m[2], m[3]), 2, "no backup of rankwatch", ""},
		"newer":      {repacked(t, member{"future", []byte("x")}, m[0], manifest(`"format": 1`, `"format": 2`)), 2, "newer version", ""},
		"messages":   {repacked(t, m[0], m[1], m[2], manifest(`"last_seq": `, `"last_seq": 9`)), 1, "the restored stream has", ""},
		"set-stream": {data, 2, "set RANKWATCH_STREAM=RANKWATCH", "RANKWATCH_STREAM=OTHER"},
		"set-prefix": {data, 2, "RANKWATCH_SUBJECT_PREFIX=rankwatch", "RANKWATCH_SUBJECT_PREFIX=other"},
	} {
		dir := "into-" + name
		_, said := p.verb(c.code, append(in(dir), c.env), "restore", p.put(name+".tar.zst", c.data))
		if !strings.Contains(said, c.want) || !strings.Contains(said, name+".tar.zst") {
			t.Errorf("%s: %s", name, said)
		}
		p.missing(dir)
		p.missing("evil")
	}
}

func TestBackupOfAWorkerThatDoesNotListen(t *testing.T) {
	t.Parallel()
	p := start(t, "RANKWATCH_NATS_LISTEN=off")
	p.wait("started")
	_, said := p.verb(1, nil, "backup", "b.tar.zst")
	if !strings.Contains(said, "let it listen, or stop the worker") {
		t.Errorf("backup said: %s", said)
	}
	p.missing("b.tar.zst")
	p.signal(syscall.SIGTERM)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
