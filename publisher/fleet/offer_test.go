package fleet_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/rankwatch/rankwatch/publisher/fleet"
)

// Of files that are offered at once the last one counts, and can be had: whoever
// was first does not take what is on its way for old.
func TestFilesOfferedAtOnce(t *testing.T) {
	t.Parallel()
	_, nc, _ := open(t)
	const workers = 4
	var all []*fleet.Files
	for i := range workers {
		f, err := fleet.OpenFiles(t.Context(), fleet.FilesConfig{Conn: nc, Stream: "R", Writer: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	for round := range 30 {
		var g errgroup.Group
		for i, f := range all {
			g.Go(func() error {
				_, v, err := f.Offer(t.Context(), fmt.Appendf(nil, "file %d of %d", i, round))
				if err == nil && v != fleet.New {
					err = fmt.Errorf("file %d: %v", i, v)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		f, err := all[0].Current(t.Context())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if want := uint64(workers * (round + 1)); f.Order != want {
			t.Errorf("round %d: the file is number %d, want %d", round, f.Order, want)
		}
	}
	kept := contents(t, nc)
	if kept > 8 {
		t.Errorf("%d contents are kept", kept)
	}
}

// A content that went missing comes back with the next worker that has the file.
func TestFilesContentComesBack(t *testing.T) {
	t.Parallel()
	_, nc, _ := open(t)
	f, err := fleet.OpenFiles(t.Context(), fleet.FilesConfig{Conn: nc, Stream: "R", Writer: "w"})
	if err != nil {
		t.Fatal(err)
	}
	if _, v, err := f.Offer(t.Context(), []byte("a file")); err != nil || v != fleet.New {
		t.Fatal(v, err)
	}
	kv := bucket(t, nc)
	if err := kv.Purge(t.Context(), "file."+fleet.Hash([]byte("a file"))+".0"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Current(t.Context()); err == nil {
		t.Fatal("the content is still there")
	}
	if _, v, err := f.Offer(t.Context(), []byte("a file")); err != nil || v != fleet.Same {
		t.Fatal(v, err)
	}
	if c, err := f.Current(t.Context()); err != nil || string(c.Content) != "a file" {
		t.Errorf("%q, %v", c.Content, err)
	}
}

func bucket(t *testing.T, nc *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), fleet.BucketName("R"))
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// contents counts the files whose content is there.
func contents(t *testing.T, nc *nats.Conn) int {
	t.Helper()
	keys, err := bucket(t, nc).ListKeysFiltered(t.Context(), "file.>")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range keys.Keys() {
		n++
	}
	return n
}
