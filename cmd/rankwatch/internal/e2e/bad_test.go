package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"
)

// Each mistake of a user is refused before anything is started, with a message
// that names the place and what to do.
func TestBadInput(t *testing.T) {
	t.Parallel()
	good := entry("list", "US", 1, defaultRules(50))
	set := func(variable, value string) func(*testing.T, *setup) {
		return func(_ *testing.T, s *setup) { s.env[variable] = value }
	}
	for name, c := range map[string]struct {
		file  string
		spoil func(*testing.T, *setup)
		want  []string
	}{
		"unknown key":   {file: file(good + "    colour: red\n"), want: []string{"watchlists.yaml", ":13:", "colour"}},
		"bad region":    {file: file(entry("list", "XX", 1, defaultRules(50))), want: []string{"watchlists.yaml", ":6:", "XX", "region"}},
		"too deep":      {file: file(entry("list", "US", 1, rules{top: 900, margin: 200, minPlaces: 1, minChange: 1, after: 1})), want: []string{"watchlists.yaml", "1000"}},
		"the same name": {file: file(good, good), want: []string{"watchlists.yaml", "list"}},
		"not yaml":      {file: "watchlists: [", want: []string{"watchlists.yaml"}},
		"no watchlist":  {file: "watchlists: []\n", want: []string{"watchlists.yaml"}},
		"no file":       {spoil: set("RANKWATCH_WATCHLISTS", "nowhere.yaml"), want: []string{"nowhere.yaml"}},
		"missing token": {spoil: set("RANKWATCH_FASTMOSS_TOKEN", ""), want: []string{"RANKWATCH_FASTMOSS_TOKEN"}},
		"missing token file": {spoil: func(_ *testing.T, s *setup) {
			s.env["RANKWATCH_FASTMOSS_TOKEN"], s.env["RANKWATCH_FASTMOSS_TOKEN_FILE"] = "", "nowhere"
		}, want: []string{"nowhere"}},
		"a rate of words":  {spoil: set("RANKWATCH_FASTMOSS_RATE", "fast"), want: []string{"RANKWATCH_FASTMOSS_RATE"}},
		"not a duration":   {spoil: set("RANKWATCH_FASTMOSS_TIMEOUT", "20"), want: []string{"RANKWATCH_FASTMOSS_TIMEOUT"}},
		"bad log level":    {spoil: set("RANKWATCH_LOG_LEVEL", "loud"), want: []string{"RANKWATCH_LOG_LEVEL", "loud"}},
		"bad prefix":       {spoil: set("RANKWATCH_SUBJECT_PREFIX", "rank watch.>"), want: []string{"RANKWATCH_SUBJECT_PREFIX"}},
		"http port in use": {spoil: occupied("RANKWATCH_HTTP_LISTEN"), want: []string{"RANKWATCH_HTTP_LISTEN", "127.0.0.1:"}},
		"bus port in use":  {spoil: occupied("RANKWATCH_NATS_LISTEN"), want: []string{"RANKWATCH_NATS_LISTEN", "127.0.0.1:"}},
		"read-only data":   {spoil: set("RANKWATCH_DATA_DIR", "/proc/rankwatch"), want: []string{"/proc/rankwatch"}},
		"data is a file":   {spoil: set("RANKWATCH_DATA_DIR", "watchlists.yaml"), want: []string{"watchlists.yaml"}},
		"no JetStream":     {spoil: withoutJetStream, want: []string{"JetStream"}},
		"foreign stream":   {spoil: foreignStream, want: []string{"OTHERS"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := newAPI(t)
			source.feed("US", 1, 100).add(lively(1, 1, 130)[0])
			source.open()
			if c.file == "" {
				c.file = file(good)
			}
			s := newSetup(t, source.URL, c.file)
			if c.spoil != nil {
				c.spoil(t, s)
			}
			refused(t, s, c.want...)
			select {
			case <-source.knocked:
				t.Error("the source was called")
			default:
			}
		})
	}
}

// refused runs the worker and expects exit code 2 and the given words on it.
func refused(t *testing.T, s *setup, words ...string) {
	t.Helper()
	w := s.start(t)
	if code := w.wait(t); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	out := w.logged.tail(1 << 20)
	for _, word := range words {
		if !strings.Contains(out, word) {
			t.Errorf("the message does not say %q:\n%s", word, out)
		}
	}
	if strings.Contains(out, "goroutine ") {
		t.Errorf("a stack trace is no message:\n%s", out)
	}
}

func occupied(variable string) func(*testing.T, *setup) {
	return func(t *testing.T, s *setup) {
		l, err := listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		s.env[variable] = l.Addr().String()
	}
}

func withoutJetStream(t *testing.T, s *setup) {
	b := newBus(t, func(o *server.Options) { o.JetStream = false })
	s.external(b.url(), "RANKWATCH", "rankwatch")
}

func foreignStream(t *testing.T, s *setup) {
	b := newBus(t, nil)
	js, err := jetstream.New(connect(t, b.url()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHERS", Subjects: []string{"rankwatch.>"}}); err != nil {
		t.Fatal(err)
	}
	s.external(b.url(), "RANKWATCH", "rankwatch")
}

// One data dir serves one process; one written by a newer version is left
// alone.
func TestBadDataDir(t *testing.T) {
	t.Parallel()
	source := newAPI(t)
	f := source.feed("US", 1, 100)
	f.add(lively(2, 1, 130)[0])
	s := newSetup(t, source.URL, file(entry("list", "US", 1, defaultRules(50))))
	worker := s.start(t)
	o := observe(t, worker.listening(t), "RANKWATCH", "rankwatch")
	source.open()
	if _, err := next(o.messages("list")); err != nil {
		t.Fatal(err)
	}
	refused(t, s, "data", "process")
	worker.stop(t)

	path := filepath.Join(s.dir, "data", "state.db")
	if err := raiseVersion(path); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, s, "state.db", "newer")
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the newer file was changed")
	}
}

// raiseVersion makes the file one of the next format: its number stands under
// meta/format, followed by a CRC-32C over bucket, a zero byte, key and number.
func raiseVersion(path string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("meta"))
		if b == nil {
			return fmt.Errorf("%s has no bucket meta", path)
		}
		value := b.Get([]byte("format"))
		if len(value) != 5 {
			return fmt.Errorf("meta/format is % x: not one byte and a checksum", value)
		}
		next := []byte{value[0] + 1}
		sum := crc32.Checksum(append([]byte("meta\x00format"), next...), crc32.MakeTable(crc32.Castagnoli))
		return b.Put([]byte("format"), binary.BigEndian.AppendUint32(next, sum))
	})
}

// A wrong token is said once for all watchlists, and the right one is taken
// from its file as soon as it is there.
func TestWrongToken(t *testing.T) {
	t.Parallel()
	source := newAPI(t)
	for i := range 2 {
		source.feed("US", i+1, 100).add(lively(3, 1, 130)[0])
	}
	s := newSetup(t, source.URL, file(entry("list", "US", 1, defaultRules(50)), entry("other", "US", 2, defaultRules(50))))
	path := filepath.Join(s.dir, "token")
	if err := os.WriteFile(path, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env["RANKWATCH_FASTMOSS_TOKEN"], s.env["RANKWATCH_FASTMOSS_TOKEN_FILE"] = "", path
	worker := s.start(t)
	o := observe(t, worker.listening(t), "RANKWATCH", "rankwatch")
	source.open()
	m := awaitStatus(t, o.statuses("_token"), "denied")
	if m.Data.Region != "all" || m.Data.Watchlist != "_token" {
		t.Errorf("denied for %s in %s", m.Data.Watchlist, m.Data.Region)
	}
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"list", "other"} {
		if _, err := next(o.messages(name)); err != nil {
			t.Errorf("%s after the token was corrected: %v", name, err)
		}
	}
	awaitStatus(t, o.statuses("_token"), "recovered")
	o.agree(t)
	worker.stop(t)
}

// A source that can't be reached is said on the bus, and so is its return.
func TestUnreachableSource(t *testing.T) {
	t.Parallel()
	address := free(t)
	s := newSetup(t, "http://"+address, file(entry("list", "US", 1, defaultRules(50))))
	worker := s.start(t)
	o := observe(t, worker.listening(t), "RANKWATCH", "rankwatch")
	m := awaitStatus(t, o.statuses("list"), "stale")
	if m.Data.Region != "US" || m.Data.Watchlist != "list" {
		t.Errorf("stale for %s in %s", m.Data.Watchlist, m.Data.Region)
	}
	source := newAPIAt(t, address)
	source.feed("US", 1, 100).add(lively(4, 1, 130)[0])
	source.open()
	if _, err := next(o.messages("list")); err != nil {
		t.Errorf("after the source came back: %v", err)
	}
	awaitStatus(t, o.statuses("list"), "recovered")
	o.agree(t)
	worker.stop(t)
}
