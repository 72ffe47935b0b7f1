package publisher

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

func TestVersions(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.12.0": true, "2.12.0-RC.1": true, "2.15.2": true, "3.0.0": true, "": true, "weird": true,
		"2.11.9": false, "2.9.0": false, "1.4.1": false,
	} {
		var bad *ConfigError
		if err := checkVersion(version); errors.As(err, &bad) == ok {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// mustRefuse opens a publisher that needs a person, who must be told of all
// these words.
func mustRefuse(t *testing.T, cfg Config, words ...string) {
	t.Helper()
	p, err := Open(t.Context(), cfg)
	if err == nil {
		p.Close()
	}
	var bad *ConfigError
	if !errors.As(err, &bad) {
		t.Fatalf("not a ConfigError: %v", err)
	}
	if bad.Do == "" {
		t.Errorf("%v: says not what to do", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v: does not mention %q", err, word)
		}
	}
}

func TestBadSettings(t *testing.T) {
	w := newWorker(t, "nats://127.0.0.1:1")
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		mod   func(*Config)
		words []string
	}{
		"prefix":       {func(c *Config) { c.Prefix = "a.*" }, []string{"RANKWATCH_SUBJECT_PREFIX"}},
		"empty prefix": {func(c *Config) { c.Prefix = "" }, []string{"RANKWATCH_SUBJECT_PREFIX"}},
		"own prefix":   {func(c *Config) { c.Prefix = "_in" }, []string{"RANKWATCH_SUBJECT_PREFIX"}},
		"stream":       {func(c *Config) { c.Stream = "a.b" }, []string{"RANKWATCH_STREAM"}},
		"retention":    {func(c *Config) { c.Retention = time.Millisecond }, []string{"RANKWATCH_RETENTION"}},
		"replicas":     {func(c *Config) { c.Replicas = 9 }, []string{"RANKWATCH_REPLICAS"}},
		"url":          {func(c *Config) { c.Server.URL = "nats://u:secret@[::1" }, []string{"RANKWATCH_NATS_URL"}},
		"scheme":       {func(c *Config) { c.Server.URL = "http://u:secret@h" }, []string{"http", "RANKWATCH_NATS_URL"}},
		"creds":        {func(c *Config) { c.Server.Creds = dir + "/none" }, []string{"RANKWATCH_NATS_CREDS"}},
		"nkey":         {func(c *Config) { c.Server.NKey = junk }, []string{"RANKWATCH_NATS_NKEY"}},
		"ca":           {func(c *Config) { c.Server.TLSCA = junk }, []string{"RANKWATCH_NATS_TLS_CA"}},
		"cert":         {func(c *Config) { c.Server.TLSCert = junk; c.Server.TLSKey = junk }, []string{"RANKWATCH_NATS_TLS_CERT"}},
		"listen":       {func(c *Config) { embedded(dir)(c); c.Server.Listen = "nonsense" }, []string{"RANKWATCH_NATS_LISTEN"}},
		"listen host":  {func(c *Config) { embedded(dir)(c); c.Server.Listen = "203.0.113.1:0" }, []string{"RANKWATCH_NATS_LISTEN"}},
		"store dir":    {func(c *Config) { embedded(dir)(c); c.Server.StoreDir = junk }, []string{"RANKWATCH_DATA_DIR"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := w.config()
			cfg.Server = ServerConfig{URL: "nats://127.0.0.1:1"}
			c.mod(&cfg)
			mustRefuse(t, cfg, c.words...)
			if _, err := Open(t.Context(), cfg); strings.Contains(err.Error(), "secret") {
				t.Fatalf("a password in %q", err)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := newWorker(t, "", embedded(t.TempDir()))
	w.cfg.Server.Listen = l.Addr().String()
	mustRefuse(t, w.cfg, l.Addr().String(), "RANKWATCH_NATS_LISTEN")
}

func TestServerWithoutJetStream(t *testing.T) {
	e := startExternal(t, func(o *server.Options) { o.JetStream = false })
	mustRefuse(t, newWorker(t, e.url()).cfg, "JetStream")
}

func TestServerThatRefusesTheCredentials(t *testing.T) {
	e := startExternal(t, func(o *server.Options) { o.Username, o.Password = "u", "right" })
	w := newWorker(t, "nats://u:wrong@127.0.0.1:"+strconv.Itoa(e.port))
	mustRefuse(t, w.cfg, "credentials")
	w.cfg.Server.URL = "nats://u:right@127.0.0.1:" + strconv.Itoa(e.port)
	w.start()
	if u := w.pub.URL(); strings.Contains(u, "right") || !strings.Contains(u, "127.0.0.1") {
		t.Fatalf("url %s", u)
	}
}

func TestAccountWithoutPermission(t *testing.T) {
	e := startExternal(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.>"}},
		}}}
	})
	w := newWorker(t, "nats://u:p@127.0.0.1:"+strconv.Itoa(e.port))
	w.cfg.Timeout = time.Second
	mustRefuse(t, w.cfg, "$JS.API")
}

func TestForeignStreams(t *testing.T) {
	for name, c := range map[string]struct {
		stream jetstream.StreamConfig
		words  []string
	}{
		"on the public subjects":   {jetstream.StreamConfig{Name: "THEIRS", Subjects: []string{"rankwatch.>"}}, []string{"THEIRS"}},
		"on one public subject":    {jetstream.StreamConfig{Name: "THEIRS", Subjects: []string{"rankwatch.US.x.board"}}, []string{"THEIRS"}},
		"on the ingest subjects":   {jetstream.StreamConfig{Name: "THEIRS", Subjects: []string{"_in.>"}}, []string{"THEIRS"}},
		"on the internal subjects": {jetstream.StreamConfig{Name: "THEIRS", Subjects: []string{"_rw.rankwatch.head.*"}}, []string{"THEIRS"}},
		"our name, other subjects": {jetstream.StreamConfig{Name: "RANKWATCH", Subjects: []string{"theirs.>"}}, []string{"RANKWATCH", "theirs.>"}},
		"our name, other prefix":   {jetstream.StreamConfig{Name: "RANKWATCH", Subjects: []string{"_in.other.>", "_rw.other.>"}}, []string{"RANKWATCH", "_in.other.>"}},
		"a limit of messages":      {jetstream.StreamConfig{Name: "RANKWATCH", Subjects: []string{"_in.rankwatch.>", "_rw.rankwatch.>"}, MaxMsgs: 5}, []string{"limit"}},
		"a work queue":             {jetstream.StreamConfig{Name: "RANKWATCH", Subjects: []string{"_in.rankwatch.>", "_rw.rankwatch.>"}, Retention: jetstream.WorkQueuePolicy}, []string{"WorkQueue"}},
		"in memory":                {jetstream.StreamConfig{Name: "RANKWATCH", Subjects: []string{"_in.rankwatch.>", "_rw.rankwatch.>"}, Storage: jetstream.MemoryStorage}, []string{"memory"}},
		"no purge":                 {jetstream.StreamConfig{Name: "RANKWATCH", Subjects: []string{"_in.rankwatch.>", "_rw.rankwatch.>"}, DenyPurge: true}, []string{"purge"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := startExternal(t)
			s, err := must(jetstream.New(e.client())).CreateStream(t.Context(), c.stream)
			if err != nil {
				t.Fatal(err)
			}
			before := s.CachedInfo().Config
			mustRefuse(t, newWorker(t, e.url()).cfg, c.words...)
			info, err := s.Info(t.Context())
			if err != nil || strings.Join(info.Config.Subjects, " ") != strings.Join(before.Subjects, " ") {
				t.Fatalf("the stream was changed: %v %v", info, err)
			}
		})
	}
}

func TestOwnStreamIsBroughtUpToDate(t *testing.T) {
	e := startExternal(t)
	js := must(jetstream.New(e.client()))
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "RANKWATCH", Subjects: []string{"_rw.rankwatch.>", "_in.rankwatch.>"}, Description: "mine", MaxAge: time.Hour, Compression: jetstream.S2Compression,
	})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorker(t, e.url(), func(c *Config) { c.Retention = time.Minute }).start()
	w.commit("a", 3)
	w.drained()
	info := must(must(js.Stream(t.Context(), "RANKWATCH")).Info(t.Context()))
	c := info.Config
	if c.MaxAge != 0 || c.Metadata[event.RetentionKey] != "1m0s" || !c.AllowAtomicPublish || c.Description != "mine" || c.Compression != jetstream.S2Compression {
		t.Fatalf("config %+v", c)
	}
}

func TestStreamThatComesBackWithoutAFeature(t *testing.T) {
	p := &Publisher{cfg: Config{Stream: "S", Prefix: "p", Replicas: 1, Retention: time.Hour}}
	want := p.wanted(jetstream.StreamConfig{Name: "S"})
	if err := checkStream(want, want); err != nil {
		t.Fatal(err)
	}
	for name, drop := range map[string]func(*jetstream.StreamConfig){
		"atomic":    func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"ttl":       func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false },
		"rollup":    func(c *jetstream.StreamConfig) { c.AllowRollup = false },
		"direct":    func(c *jetstream.StreamConfig) { c.AllowDirect = false },
		"transform": func(c *jetstream.StreamConfig) { c.SubjectTransform = nil },
		"republish": func(c *jetstream.StreamConfig) { c.RePublish = nil },
	} {
		have := want
		drop(&have)
		var bad *ConfigError
		if err := checkStream(have, want); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOutboxOfAnotherStream(t *testing.T) {
	e := startExternal(t)
	w := newWorker(t, e.url())
	if err := w.db.SetStream(state.Stream{Name: "THEN", Prefix: "then", Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, w.cfg, "RANKWATCH_STREAM=THEN", "RANKWATCH_SUBJECT_PREFIX=then")
}

func TestLateServerThatCannotBeUsedEndsRun(t *testing.T) {
	e := startExternal(t, func(o *server.Options) { o.JetStream = false })
	e.stop()
	w := newWorker(t, e.url()).open()
	e.start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var bad *ConfigError
	if err := w.pub.Run(ctx); !errors.As(err, &bad) {
		t.Fatalf("run: %v", err)
	}
}

func TestTwoInstallationsOnOneServer(t *testing.T) {
	t.Parallel()
	e := startExternal(t)
	a := newWorker(t, e.url()).start()
	b := newWorker(t, e.url(), func(c *Config) { c.Stream, c.Prefix, c.Writer = "OTHER", "acme.other", "writer-b" }).start()
	oa, ob := observe(t, e.client(), "rankwatch"), observe(t, e.client(), "acme.other")
	wantA, wantB := a.commit("x", 2), b.commit("x", 3)
	wantA, wantB = append(wantA, a.commit("x", 1)...), append(wantB, b.commit("x", 1)...)
	oa.expect(wantA)
	ob.expect(wantB)
	same(t, "consumer", history(t, e.client(), "OTHER", "acme.other"), wantB)
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"nats://u:p@h:1, tls://tok@h2": "nats://h:1,tls://h2",
		"nats://h":                     "nats://h",
		"nats://u:p@[::1":              "(unreadable)",
		"ws://h/?auth=x":               "ws://h/",
	} {
		if got := redact(in); got != want {
			t.Errorf("redact(%q) = %q, want %q", in, got, want)
		}
	}
}
