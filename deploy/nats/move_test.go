package nats

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/snapshot"
	"github.com/rankwatch/rankwatch/watcher/fastmoss/simulator"
)

const moved = "watchlists:\n  - {name: us, every: 1s, top: 20, filter: {region: US}}\n  - {name: gb, every: 1s, top: 30, filter: {region: GB}}\n"

// alone is the environment of a worker with the embedded server.
func alone(listen string) []string {
	return []string{"RANKWATCH_NATS_URL=", "RANKWATCH_NATS_NKEY=", "RANKWATCH_NATS_LISTEN=" + listen, "RANKWATCH_DATA_DIR=single"}
}

// A worker with an embedded server becomes a fleet, as FLEET.md says: it ends, its
// stream is taken out of a backup and restored into the servers of the fleet, and
// workers with empty data directories go on. No revision is missing, none comes
// twice, nothing is a baseline, and what consumed goes on where it was.
func TestOneWorkerBecomesAFleet(t *testing.T) {
	in := installFleet(t)
	api := httptest.NewServer(simulator.New(simulator.Config{World: simulator.WorldConfig{Step: 500 * time.Millisecond}}))
	t.Cleanup(api.Close)
	must(t, os.WriteFile(filepath.Join(in.dir, "watchlists.yaml"), []byte(moved), 0o600))

	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	listen := l.Addr().String()
	must(t, l.Close())
	single := in.command("worker", api.URL, "run")
	single.Env = append(single.Env, alone(listen)...)
	var said bytes.Buffer
	single.Stderr = &said
	must(t, single.Start())
	ended := false
	defer func() {
		if !ended {
			_ = single.Process.Kill()
			_ = single.Wait()
		}
	}()
	nc, err := nats.Connect("nats://"+listen, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	must(t, err)
	defer nc.Close()
	consumed := consume(t, nc, "RANKWATCH", 3)
	must(t, single.Process.Signal(os.Interrupt))
	err = single.Wait()
	ended = true
	if err != nil {
		t.Fatalf("the single worker ended with %v\n%s", err, said.String())
	}

	in.alone(t, "verify")
	in.alone(t, "backup", "move.tar.zst")
	operator, violations := in.client(t, "restore")
	in.bring(t, operator)
	select {
	case err := <-violations:
		t.Fatal(err)
	default:
	}
	before := in.verb(t, "reader", "verify")
	if before != in.alone(t, "verify") {
		t.Errorf("verify says of what was moved\n%s", before)
	}

	for _, data := range []string{"one", "two"} {
		in.start(t, "worker", api.URL, []string{"RANKWATCH_CLUSTER=true", "RANKWATCH_REPLICAS=3", "RANKWATCH_DATA_DIR=" + data}, "run")
	}
	reader, _ := in.client(t, "reader")
	if next := consume(t, reader, "RANKWATCH", 3); next <= consumed {
		t.Errorf("a consumer had got to sequence %d and goes on at %d", consumed, next)
	}
	in.verb(t, "reader", "verify")
	for _, name := range []string{"us", "gb"} {
		in.unbroken(t, name)
	}
	js, err := jetstream.New(reader)
	must(t, err)
	s, err := js.Stream(t.Context(), "RANKWATCH")
	must(t, err)
	if n := s.CachedInfo().Config.Replicas; n != 3 {
		t.Errorf("%d replicas of what was moved", n)
	}
}

// consume takes messages from a durable consumer until each watchlist had so many
// boards, and returns the sequence of the first message.
func consume(t *testing.T, nc *nats.Conn, stream string, boards int) (first uint64) {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	must(t, err)
	var c jetstream.Consumer
	for end := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		c, err = js.CreateOrUpdateConsumer(t.Context(), stream, jetstream.ConsumerConfig{Durable: "crm", FilterSubject: "rankwatch.>", AckPolicy: jetstream.AckAllPolicy})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	for seen["us"] < boards || seen["gb"] < boards {
		m, err := c.Next(jetstream.FetchMaxWait(patience))
		must(t, err)
		meta, err := m.Metadata()
		must(t, err)
		if first == 0 {
			first = meta.Sequence.Stream
		}
		if words := strings.Split(m.Subject(), "."); words[3] == "board" {
			seen[words[2]]++
		}
	}
	return first
}

// alone runs a verb on the single worker's data directory.
func (in *installation) alone(t *testing.T, args ...string) string {
	t.Helper()
	c := in.command("reader", "http://127.0.0.1:1", args...)
	c.Env = append(c.Env, alone("off")...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", args, err, out)
	}
	return string(out)
}

// bring restores the stream that is in the backup.
func (in *installation) bring(t *testing.T, nc *nats.Conn) {
	t.Helper()
	f, err := os.Open(filepath.Join(in.dir, "move.tar.zst"))
	must(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f)
	must(t, err)
	defer z.Close()
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		files[h.Name], err = io.ReadAll(r)
		must(t, err)
	}
	var meta snapshot.Meta
	must(t, json.Unmarshal(files["stream/"+snapshot.MetaFile], &meta))
	_, err = snapshot.Restore(t.Context(), nc, meta, bytes.NewReader(files["stream/"+snapshot.DataFile]))
	must(t, err)
}

// unbroken looks at every board that was published of a watchlist.
func (in *installation) unbroken(t *testing.T, watchlist string) {
	t.Helper()
	revision := uint64(0)
	writers := map[string]bool{}
	for line := range strings.Lines(in.verb(t, "reader", "replay", watchlist, "--kind", "board", "-o", "json")) {
		var e struct {
			ID   string `json:"id"`
			Data struct {
				Revision uint64  `json:"revision"`
				Previous *uint64 `json:"previous_revision"`
				Outcome  string  `json:"outcome"`
				Writer   string  `json:"writer"`
			} `json:"data"`
		}
		if json.Unmarshal([]byte(line), &e) != nil || e.ID == "" {
			continue // what the verb says of its end
		}
		want := "changed"
		if revision == 0 {
			want = "baseline"
		} else if e.Data.Previous == nil || *e.Data.Previous != revision {
			t.Errorf("%s does not follow revision %d", e.ID, revision)
		}
		revision++
		writers[e.Data.Writer] = true
		if e.ID != fmt.Sprintf("%s/%d/board", watchlist, revision) || e.Data.Revision != revision || e.Data.Outcome != want {
			t.Errorf("revision %d of %s is %s, %s", revision, watchlist, e.ID, e.Data.Outcome)
		}
	}
	if revision < 4 || len(writers) < 2 {
		t.Errorf("%d revisions of %s by %d workers", revision, watchlist, len(writers))
	}
}
