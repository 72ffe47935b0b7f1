package progress

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A screen may be looked at while it is written to.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestABarComesAfterASecondAndIsWiped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out screen
		b := begin(Config{Errs: &out, What: "messages"}, true, (*Bar).draw)
		b.Update(100_000, 300_000)
		time.Sleep(900 * time.Millisecond)
		synctest.Wait()
		if out.String() != "" {
			t.Errorf("it was not yet worth a bar: %q", &out)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		for _, want := range []string{"25%", "100000/400000", "messages/s", "]"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in %q", want, &out)
			}
		}
		b.Update(400_000, 0)
		time.Sleep(200 * time.Millisecond)
		b.Done()
		rest := out.String()[strings.LastIndexByte(strings.TrimRight(out.String(), "\r "), '\r')+1:]
		if !strings.HasSuffix(out.String(), "\r") || strings.Contains(out.String(), "\n") || !strings.Contains(rest, "messages") {
			t.Errorf("the bar is not wiped: %q", &out)
		}
	})
}

func TestShortWorkShowsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		for _, show := range []func(*Bar){(*Bar).draw, (*Bar).lines} {
			b := begin(Config{Errs: &out, What: "messages"}, true, show)
			b.Update(1, 1)
			time.Sleep(time.Second / 2)
			b.Done()
		}
		if out.Len() > 0 {
			t.Errorf("%q", &out)
		}
	})
}

func TestOffATerminalALineEveryTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out, quiet bytes.Buffer
		b := New(Config{Errs: &out, What: "messages", Lines: true})
		q := New(Config{Errs: &quiet, What: "messages"})
		time.Sleep(time.Second / 2)
		for i := range 25 {
			b.Update(uint64(i+1)*1000, uint64(24-i)*1000)
			q.Update(uint64(i), 1)
			time.Sleep(time.Second)
		}
		b.Done()
		q.Done()
		want := "40 %: 10,000 of 25,000 messages, 1,000 a second, about 15s left\n80 %: 20,000 of 25,000 messages, 1,000 a second, about 5s left\n"
		if out.String() != want || quiet.Len() > 0 {
			t.Errorf("%q and %q", &out, &quiet)
		}
	})
}

func TestAFileIsNoTerminal(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if terminal(f) || terminal(nil) || terminal(&bytes.Buffer{}) {
		t.Error("it is taken for one")
	}
}

func BenchmarkUpdate(b *testing.B) {
	bar := New(Config{Errs: &bytes.Buffer{}})
	defer bar.Done()
	for i := range b.N {
		bar.Update(uint64(i), 1)
	}
}
