package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// someFiles are n workers' views of one bucket.
func someFiles(t *testing.T, srv *server.Server, stream string, n int) (all []*Files) {
	t.Helper()
	for i := range n {
		nc, err := nats.Connect(srv.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		f, err := OpenFiles(within(t), FilesConfig{Conn: nc, Stream: stream, Writer: fmt.Sprint("w", i)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

func offer(t *testing.T, f *Files, content string, want Verdict, order uint64) File {
	t.Helper()
	got, verdict, err := f.Offer(within(t), []byte(content))
	if err != nil || verdict != want || got.Order != order {
		t.Fatalf("offer %q: verdict %d of order %d, want %d of %d: %v", content, verdict, got.Order, want, order, err)
	}
	return got
}

func TestAFileThatWasReplacedDoesNotWinAgain(t *testing.T) {
	t.Parallel()
	all := someFiles(t, aBus(t), "S", 2)
	a, b := all[0], all[1]
	if _, err := a.Current(within(t)); !errors.Is(err, ErrNoFile) {
		t.Fatal(err)
	}
	offer(t, a, "one", New, 1)
	offer(t, b, "one", Same, 1)
	offer(t, b, "two", New, 2)
	if f := offer(t, a, "one", Old, 2); string(f.Content) != "two" || f.Writer != "w1" {
		t.Errorf("%q of %s counts", f.Content, f.Writer)
	}
	offer(t, a, "one, again", New, 3)
}

// Of many that are offered at once all are taken, one after the other, and the last
// one can be had, whoever deletes what meanwhile.
func TestFilesThatAreOfferedAtOnce(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	for round := range 6 {
		n := 2 + 4*(round%3)
		all := someFiles(t, srv, fmt.Sprint("S", round), n)
		orders := make([]uint64, n)
		var offers sync.WaitGroup
		for i, f := range all {
			offers.Go(func() {
				got, verdict, err := f.Offer(within(t), fmt.Appendf(nil, "round %d worker %d", round, i))
				if err != nil || verdict != New {
					t.Errorf("worker %d: verdict %d, %v", i, verdict, err)
				}
				orders[i] = got.Order
			})
		}
		offers.Wait()
		seen := map[uint64]bool{}
		for i, f := range all {
			cur, err := f.Current(within(t))
			if err != nil || cur.Order != uint64(n) || orders[i] < 1 || orders[i] > uint64(n) || seen[orders[i]] {
				t.Fatalf("of %d files number %d counts, worker %d's is %d: %v", n, cur.Order, i, orders[i], err)
			}
			seen[orders[i]] = true
		}
	}
}

// What does not fit into one message, nor compress, comes back to the byte; what is
// damaged does not come back at all.
func TestALargeFileComesBackAsItWas(t *testing.T) {
	t.Parallel()
	f := someFiles(t, aBus(t), "S", 1)[0]
	random := rand.New(rand.NewPCG(1, 2))
	content := make([]byte, 3*contentPart+17)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	file, _, err := f.Offer(within(t), content)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Current(within(t))
	if err != nil || !bytes.Equal(got.Content, content) || got.Hash != file.Hash {
		t.Fatalf("%d bytes, %v", len(got.Content), err)
	}
	if _, err := f.bucket().Put(within(t), partKey(file.Hash, 1), []byte("something else")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Current(within(t)); !errors.Is(err, errContent) || !strings.Contains(err.Error(), file.Hash) {
		t.Errorf("damaged: %v", err)
	}
}

func TestWatchTellsTheFilesInOrder(t *testing.T) {
	t.Parallel()
	all := someFiles(t, aBus(t), "S", 2)
	offer(t, all[0], "one", New, 1)
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan File, 100)
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := all[1].Watch(ctx, func(f File) { heard <- f }); err != nil {
			t.Error(err)
		}
	})
	var last uint64
	for i := 2; last < 9; i++ {
		if i <= 9 {
			offer(t, all[i%2], fmt.Sprint("file ", i), New, uint64(i))
		}
		f := <-heard
		if f.Order <= last || f.Order > 1 && string(f.Content) != fmt.Sprint("file ", f.Order) {
			t.Fatalf("order %d after %d: %q", f.Order, last, f.Content)
		}
		last = f.Order
	}
	cancel()
	watching.Wait()
}
