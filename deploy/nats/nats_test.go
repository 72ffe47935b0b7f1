package nats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/rankwatch/rankwatch/publisher/fleet"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

const patience = 60 * time.Second

// binary is the real one, built once for all tests.
var binary func() (string, error)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "rankwatch-deploy")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = sync.OnceValues(func() (string, error) {
		path := filepath.Join(dir, "rankwatch")
		if out, err := exec.Command("go", "build", "-o", path, "github.com/rankwatch/rankwatch/cmd/rankwatch").CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	})
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

var roles = []string{"worker", "alert", "reader", "backup", "consumer"}

// An installation is a server with the configuration, and a key for each role.
type installation struct {
	url   string
	seeds map[string]string // role: path
	dir   string
	bin   string
}

// begin makes a key for each role.
func begin(t *testing.T, roles []string) *installation {
	t.Helper()
	in := &installation{seeds: map[string]string{}, dir: t.TempDir()}
	for _, r := range roles {
		user, err := nkeys.CreateUser()
		must(t, err)
		public, err := user.PublicKey()
		must(t, err)
		seed, err := user.Seed()
		must(t, err)
		in.seeds[r] = filepath.Join(in.dir, r)
		must(t, os.WriteFile(in.seeds[r], seed, 0o600))
		t.Setenv("RANKWATCH_NATS_"+strings.ToUpper(r)+"_PUBLIC", public)
	}
	var err error
	in.bin, err = binary()
	must(t, err)
	return in
}

func install(t *testing.T, change ...func(*installation, *server.Options)) *installation {
	t.Helper()
	in := begin(t, roles)
	o, err := server.ProcessConfigFile("nats-server.conf")
	must(t, err)
	if o.JetStreamLimits.MaxBatchSize != 4096 || !o.SyncAlways {
		t.Errorf("batches of %d, sync always %v", o.JetStreamLimits.MaxBatchSize, o.SyncAlways)
	}
	o.Host, o.Port, o.HTTPPort, o.StoreDir, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, 0, t.TempDir(), true, true
	for _, fn := range change {
		fn(in, o)
	}
	in.url = serve(t, o).ClientURL()
	return in
}

func serve(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	srv, err := server.NewServer(o)
	must(t, err)
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client connects as a role. What is not permitted comes to violations.
func (in *installation) client(t *testing.T, role string) (*nats.Conn, chan error) {
	t.Helper()
	violations := make(chan error, 16)
	key, err := nats.NkeyOptionFromSeed(in.seeds[role])
	must(t, err)
	nc, err := nats.Connect(in.url, key, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	must(t, err)
	t.Cleanup(nc.Close)
	return nc, violations
}

func (in *installation) command(role, api string, args ...string) *exec.Cmd {
	c := exec.Command(in.bin, args...)
	c.Dir = in.dir
	c.Env = append(os.Environ(), "RANKWATCH_NATS_URL="+in.url, "RANKWATCH_NATS_NKEY="+in.seeds[role], "RANKWATCH_HTTP_LISTEN=off",
		"RANKWATCH_FASTMOSS_URL="+api, "RANKWATCH_FASTMOSS_TOKEN="+simulator.DefaultToken, "RANKWATCH_FASTMOSS_RATE=1000", "RANKWATCH_ALERT_ALLOW_PRIVATE=true")
	for r := range in.seeds {
		c.Env = append(c.Env, "RANKWATCH_NATS_"+strings.ToUpper(r)+"_PUBLIC=") // the server's, not the worker's
	}
	return c
}

// verb runs the binary to its end and fails if it does, or meets a refusal.
func (in *installation) verb(t *testing.T, role string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := in.command(role, "http://127.0.0.1:1", args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	must(t, c.Start())
	stop := context.AfterFunc(ctx, func() { _ = c.Process.Kill() })
	defer stop()
	if err := c.Wait(); err != nil || strings.Contains(strings.ToLower(out.String()), "violation") {
		t.Fatalf("%s as %s: %v\n%s", args, role, err, out.String())
	}
	return out.String()
}

// start runs a verb that does not end by itself, until the test does.
func (in *installation) start(t *testing.T, role, api string, env []string, args ...string) *bytes.Buffer {
	t.Helper()
	c, out := in.command(role, api, args...), &bytes.Buffer{}
	c.Env = append(c.Env, env...)
	c.Stdout, c.Stderr = out, out
	must(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		if err := c.Wait(); err != nil || strings.Contains(strings.ToLower(out.String()), "violation") {
			t.Errorf("%s as %s: %v\n%s", args, role, err, out.String())
		}
	})
	return out
}

// Everything that rankwatch does works with the permissions of its role, and a
// service can consume, and do nothing else.
func TestPermissions(t *testing.T) {
	in := install(t)
	api := httptest.NewServer(simulator.New(simulator.Config{World: simulator.WorldConfig{Step: 500 * time.Millisecond}}))
	t.Cleanup(api.Close)
	must(t, os.WriteFile(filepath.Join(in.dir, "watchlists.yaml"), []byte("watchlists:\n  - {name: us, every: 1s, top: 20, filter: {region: US}}\n"), 0o600))
	in.start(t, "worker", api.URL, nil, "run")

	reader, _ := in.client(t, "reader")
	boards, err := reader.SubscribeSync("rankwatch.*.us.board")
	must(t, err)
	_, err = boards.NextMsg(patience)
	must(t, err)

	told := make(chan struct{}, 64)
	hook := httptest.NewServer(receiver(told))
	t.Cleanup(hook.Close)
	in.start(t, "alert", "", []string{"RANKWATCH_ALERT_WEBHOOK_URL=" + hook.URL}, "alert", "--from", "all")
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatal("no alert")
	}
	in.verb(t, "alert", "alert", "parked")
	if out := in.verb(t, "reader", "replay", "us", "-o", "json"); !strings.Contains(out, "rankwatch.board") {
		t.Errorf("replay printed %q", out)
	}
	in.verb(t, "reader", "board", "us")
	in.verb(t, "reader", "verify")
	in.verb(t, "backup", "backup", "copy.tar.zst")
	t.Run("consumer", in.consumer)
}

// A reader may look at workers that share watchlists.
func TestAReaderLooksAtAFleet(t *testing.T) {
	in := install(t, func(in *installation, o *server.Options) {
		admin, err := nkeys.CreateUser()
		must(t, err)
		public, err := admin.PublicKey()
		must(t, err)
		seed, err := admin.Seed()
		must(t, err)
		in.seeds["admin"] = filepath.Join(in.dir, "admin")
		must(t, os.WriteFile(in.seeds["admin"], seed, 0o600))
		o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: public, Account: o.Nkeys[0].Account})
	})
	admin, _ := in.client(t, "admin")
	_, err := fleet.OpenQueue(t.Context(), fleet.QueueConfig{Conn: admin, Stream: "RANKWATCH", Prefix: "rankwatch"}, fleet.Limits{Readings: 1, Rate: 1})
	must(t, err)
	files, err := fleet.OpenFiles(t.Context(), fleet.FilesConfig{Conn: admin, Stream: "RANKWATCH", Writer: "W"})
	must(t, err)
	_, _, err = files.Offer(t.Context(), []byte("watchlists: [{name: us, filter: {region: US}}]"))
	must(t, err)
	_, err = admin.Subscribe("_turns.rankwatch.who", func(m *nats.Msg) { _ = m.Respond([]byte(`{"writer":"W"}`)) })
	must(t, err)
	must(t, admin.Flush())
	if out := in.verb(t, "reader", "fleet"); !strings.Contains(out, "workers     1 answered") || !strings.Contains(out, "with neither: us") {
		t.Errorf("fleet printed:\n%s", out)
	}
}

func (in *installation) consumer(t *testing.T) {
	nc, violations := in.client(t, "consumer")
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	must(t, err)
	operator, _ := in.client(t, "reader")
	made, err := jetstream.New(operator, jetstream.WithDefaultTimeout(patience))
	must(t, err)
	_, err = made.CreateConsumer(t.Context(), "RANKWATCH", jetstream.ConsumerConfig{Durable: "crm", FilterSubject: "rankwatch.>", AckPolicy: jetstream.AckExplicitPolicy})
	must(t, err)
	c, err := js.Consumer(t.Context(), "RANKWATCH", "crm")
	must(t, err)
	m, err := c.Next(jetstream.FetchMaxWait(patience))
	must(t, err)
	must(t, m.DoubleAck(t.Context()))
	last, err := nc.Request("$JS.API.DIRECT.GET.RANKWATCH.rankwatch.US.us.board", nil, patience)
	must(t, err)
	if !bytes.Contains(last.Data, []byte(`"rankwatch.board"`)) {
		t.Errorf("the last board is %s %q", last.Header, last.Data)
	}
	select {
	case err := <-violations:
		t.Fatal(err)
	default:
	}
	for _, subject := range []string{
		"_in.rankwatch.US.us.board", "_rw.rankwatch.head.us", "rankwatch.US.us.board", "rankwatch-parked",
		"$JS.API.STREAM.DELETE.RANKWATCH", "$JS.API.STREAM.PURGE.RANKWATCH", "$JS.API.STREAM.UPDATE.RANKWATCH", "$JS.API.STREAM.CREATE.OTHER",
		"$JS.API.STREAM.MSG.DELETE.RANKWATCH", "$JS.API.STREAM.MSG.GET.RANKWATCH", "$JS.API.STREAM.SNAPSHOT.RANKWATCH",
		"$JS.API.DIRECT.GET.RANKWATCH._rw.rankwatch.head.us", "$JS.API.DIRECT.GET.RANKWATCH",
		"$JS.API.CONSUMER.CREATE.RANKWATCH.crm.rankwatch.>", "$JS.API.CONSUMER.CREATE.RANKWATCH.crm._rw.rankwatch.>", "$JS.API.CONSUMER.CREATE.RANKWATCH.crm", "$JS.API.CONSUMER.DELETE.RANKWATCH.crm",
		"$JS.API.CONSUMER.MSG.NEXT.RANKWATCH.alert-default-changes", "$JS.ACK.RANKWATCH.alert-default-changes.1.1.1.1.1",
		"$KV.RANKWATCH_ALERTS.x", "$SRV.STATE.rankwatch.RANKWATCH",
	} {
		must(t, nc.Publish(subject, nil))
		in.refused(t, violations, subject)
	}
	for _, subject := range []string{">", "_in.>", "_rw.>", "$JS.API.>", "$SRV.>"} {
		_, err := nc.SubscribeSync(subject)
		must(t, err)
		in.refused(t, violations, subject)
	}
}

func (in *installation) refused(t *testing.T, violations chan error, what string) {
	t.Helper()
	select {
	case err := <-violations:
		if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), fmt.Sprintf("%q", what)) {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(patience):
		t.Errorf("%s is permitted", what)
	}
}

// The other roles cannot do away with history either.
func TestNobodyDeletes(t *testing.T) {
	in := install(t)
	for _, role := range roles {
		nc, violations := in.client(t, role)
		for _, subject := range []string{"$JS.API.STREAM.DELETE.RANKWATCH", "$JS.API.STREAM.MSG.DELETE.RANKWATCH", "rankwatch.US.us.board"} {
			must(t, nc.Publish(subject, nil))
			in.refused(t, violations, subject)
		}
		if role == "worker" {
			continue
		}
		for _, subject := range []string{"_in.rankwatch.US.us.board", "$JS.API.STREAM.PURGE.RANKWATCH", "$JS.API.STREAM.RESTORE.RANKWATCH"} {
			must(t, nc.Publish(subject, nil))
			in.refused(t, violations, subject)
		}
	}
}
