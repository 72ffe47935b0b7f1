package fleet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"
)

func someFiles(t *testing.T, srv *server.Server, writer string) *Files {
	t.Helper()
	f, err := OpenFiles(within(t), FilesConfig{Conn: client(t, srv), Stream: "S", Writer: writer, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func offers(t *testing.T, f *Files, content string, want Verdict, order uint64, counts string) {
	t.Helper()
	file, verdict, err := f.Offer(within(t), []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	if verdict != want || file.Order != order || string(file.Content) != counts || file.Hash != Hash([]byte(counts)) {
		t.Errorf("%.20q offered: verdict %d, order %d, %.20q counts", content, verdict, file.Order, file.Content)
	}
}

func TestTheLastNewFileCounts(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	a, b := someFiles(t, srv, "a"), someFiles(t, srv, "b")
	if _, err := a.Current(within(t)); !errors.Is(err, ErrNoFile) {
		t.Fatalf("before the first file: %v", err)
	}
	if n, _, err := a.Latest(within(t)); n != 0 || err != nil {
		t.Fatalf("order %d: %v", n, err)
	}
	offers(t, a, "one", New, 1, "one")
	offers(t, b, "one", Same, 1, "one")
	offers(t, b, "two", New, 2, "two")
	offers(t, a, "one", Old, 2, "two")
	offers(t, a, "", New, 3, "")
	offers(t, b, "two", Old, 3, "")
	f, err := b.Current(within(t))
	if err != nil || f.Order != 3 || f.Writer != "a" || f.At.IsZero() {
		t.Errorf("current %+v: %v", f, err)
	}
	// A content that does not compress, of several parts.
	big := make([]byte, 2*contentPart+5)
	x := uint64(7)
	for i := range big {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		big[i] = byte(x)
	}
	offers(t, a, string(big), New, 4, string(big))
	offers(t, b, "two", Old, 4, string(big))
	// More than are kept: the last one can always be had.
	for n := range uint64(keepContents + 3) {
		offers(t, b, fmt.Sprint("more ", n), New, 5+n, fmt.Sprint("more ", n))
	}
	offers(t, a, "one", Old, 15, "more 10")
}

// Many who offer at once agree on one of them, and its content is there.
func TestOfManyOfferedAtOnceOneCountsForAll(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	const workers, rounds = 10, 4
	var all []*Files
	for n := range workers {
		all = append(all, someFiles(t, srv, fmt.Sprint("w", n)))
	}
	for round := range rounds {
		var g errgroup.Group
		orders := make([]uint64, workers)
		for n, f := range all {
			g.Go(func() error {
				file, verdict, err := f.Offer(within(t), fmt.Appendf(nil, "round %d of %d", round, n))
				if err == nil && verdict != New {
					err = fmt.Errorf("verdict %d", verdict)
				}
				orders[n] = file.Order
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		seen := map[uint64]bool{}
		for _, o := range orders {
			seen[o] = true
		}
		for o := range uint64(workers) {
			if n := uint64(round*workers) + o + 1; !seen[n] {
				t.Errorf("round %d: nobody has order %d", round, n)
			}
		}
		first, err := all[0].Current(within(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all[1:] {
			if is, err := f.Current(within(t)); err != nil || is.Order != first.Order || is.Hash != first.Hash || string(is.Content) != string(first.Content) {
				t.Fatalf("one has %+v, another %+v: %v", first, is, err)
			}
		}
	}
}

// A content that no record names yet is on its way to become the fleet's.
func TestAContentThatIsBeingOfferedIsNotCleanedUp(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	a, b := someFiles(t, srv, "a"), someFiles(t, srv, "b")
	mine := []byte("mine")
	if _, err := a.store(within(t), Hash(mine), mine); err != nil { // as the first half of an offer does
		t.Fatal(err)
	}
	offers(t, b, "theirs", New, 1, "theirs")
	if data, _, err := a.get(within(t), partKey(Hash(mine), 0)); err != nil || data == nil {
		t.Fatalf("the content is gone: %v", err)
	}
}

func TestADamagedContentIsAnError(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	a := someFiles(t, srv, "a")
	offers(t, a, "one", New, 1, "one")
	for name, damage := range map[string]func() error{
		"junk": func() error {
			_, err := a.bucket().Put(within(t), partKey(Hash([]byte("one")), 0), []byte("junk"))
			return err
		},
		"another": func() error { _, err := a.store(within(t), Hash([]byte("one")), []byte("two")); return err },
		"missing": func() error { return a.bucket().Delete(within(t), partKey(Hash([]byte("one")), 0)) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if f, err := a.Current(within(t)); !errors.Is(err, errContent) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	// The way out is another file.
	offers(t, a, "two", New, 2, "two")
}

// What counts is told, also when it is an older one that came back.
func TestAWatchTellsWhatCounts(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	a, b := someFiles(t, srv, "a"), someFiles(t, srv, "b")
	offers(t, a, "one", New, 1, "one")
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	seen := make(chan File, 16)
	done := make(chan error, 1)
	go func() { done <- b.Watch(ctx, func(f File) { seen <- f }) }()
	next := func(order uint64, content string) {
		t.Helper()
		select {
		case f := <-seen:
			if f.Order != order || string(f.Content) != content {
				t.Errorf("saw %d %q, want %d %q", f.Order, f.Content, order, content)
			}
		case <-time.After(patience):
			t.Fatalf("did not see %d", order)
		}
	}
	next(1, "one")
	offers(t, a, "two", New, 2, "two")
	next(2, "two")
	// An old record comes back, as with a server that was restored.
	record, _, err := a.get(within(t), currentKey)
	if err != nil {
		t.Fatal(err)
	}
	offers(t, a, "three", New, 3, "three")
	next(3, "three")
	if _, err := a.bucket().Put(within(t), currentKey, record); err != nil {
		t.Fatal(err)
	}
	next(2, "two")
	offers(t, a, "four", New, 3, "four")
	next(3, "four")
	offers(t, a, "five", New, 4, "five")
	next(4, "five")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestATokensConditionIsWatched(t *testing.T) {
	t.Parallel()
	srv := aBus(t)
	a, b := someFiles(t, srv, "a"), someFiles(t, srv, "b")
	until := time.Now().Add(time.Minute).UTC()
	if err := a.PutToken(within(t), Token{Status: "denied", Reason: "token", Since: until, NextTry: until}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	tokens, holds := make(chan Token, 16), make(chan time.Time, 16)
	done := make(chan error, 1)
	go func() {
		done <- b.WatchToken(ctx, func(k Token) { tokens <- k }, func(at time.Time) { holds <- at })
	}()
	if k := <-tokens; k.Status != "denied" || k.Writer != "a" || k.At.IsZero() || !k.NextTry.Equal(until) {
		t.Errorf("heard %+v", k)
	}
	if err := a.PutHold(within(t), until); err != nil {
		t.Fatal(err)
	}
	if at := <-holds; !at.Equal(until) {
		t.Errorf("heard of a hold until %v", at)
	}
	if err := b.PutToken(within(t), Token{Status: "ok"}); err != nil {
		t.Fatal(err)
	}
	if k := <-tokens; k.Status != "ok" || k.Writer != "b" {
		t.Errorf("heard %+v", k)
	}
	v, err := Look(within(t), client(t, srv), "S", "p.q")
	if !errors.Is(err, ErrNoFleet) {
		t.Errorf("looked at %v: %v", v, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
