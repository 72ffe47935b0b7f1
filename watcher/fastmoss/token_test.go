package fastmoss

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// byToken denies all tokens but one.
func byToken(header string, good func(*http.Request) (int, http.Header, string)) func(*http.Request) (int, http.Header, string) {
	return func(r *http.Request) (int, http.Header, string) {
		if r.Header.Get("Authorization") == header {
			return good(r)
		}
		return 401, nil, coded(30001)
	}
}

func TestTokenFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	real := time.Now()
	write := func(v string, stamp time.Duration) {
		if err := os.WriteFile(path, []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, real, real.Add(stamp)); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write("\n one \n", 0)
		src := FileToken(path)
		expect := func(want string) {
			t.Helper()
			if got, err := src.Token(); err != nil || got != want {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		}
		expect("one")
		write("two", time.Second)
		expect("one") // looked at less than a second ago
		time.Sleep(time.Second)
		expect("two")
		// Another file of the same size and time, as a rename brings.
		next := path + ".next"
		if err := os.WriteFile(next, []byte("six"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(next, real, real.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		expect("six")
		// In place, and so soon that size and time stamp stayed the same.
		write("ten", time.Second)
		time.Sleep(time.Second)
		expect("ten")
		// A file that is gone is an error, and no reason to send an old token.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if tok, err := src.Token(); !errors.Is(err, ErrToken) || !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("got %q, %v", tok, err)
		}
		write("back", 2*time.Second)
		time.Sleep(time.Second)
		expect("back")
	})
}

func TestUnchangedTokenFileIsNotReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	src := FileToken(path)
	if _, err := src.Token(); err != nil {
		t.Fatal(err)
	}
	// A change that leaves no trace stays unseen, which shows that the file was
	// not opened.
	if err := os.WriteFile(path, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	src.mu.Lock()
	src.checked = time.Time{}
	src.mu.Unlock()
	if got, _ := src.Token(); got != "one" {
		t.Errorf("got %q", got)
	}
	// A reload looks in any case.
	src.expire()
	if got, _ := src.Token(); got != "two" {
		t.Errorf("got %q", got)
	}
}

func TestUnusableTokensAreRefusedWithoutShowingThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for name, content := range map[string]string{
		"empty": "", "blank": " \n\t", "two lines": "abc-secret\ndef-secret", "not ASCII": "secret\u00e9", "control": "secret\x00x",
		"huge": strings.Repeat("secret", 10000),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, src := range []*TokenSource{FileToken(path), StaticToken(content)} {
			_, err := src.Token()
			if !errors.Is(err, ErrToken) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := New(Config{BaseURL: "https://h", Token: src, Rate: 1}); !errors.Is(err, ErrConfig) || !errors.Is(err, ErrToken) {
				t.Errorf("%s: New says %v", name, err)
			}
		}
	}
	if _, err := FileToken(t.TempDir()).Token(); !errors.Is(err, ErrToken) {
		t.Errorf("a folder: %v", err)
	}
}

func TestATokenFileBeingReplacedIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	inBubble(t, func(c *Config) { c.Token = FileToken(path) }, func(t *testing.T, s *source, c *Client) {
		mustAsk(t, c)
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		done := make(chan error)
		go func() { done <- ask(t, c) }()
		synctest.Wait()
		if err := os.WriteFile(path, []byte("two"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || s.count() != 2 || s.tokens[1] != "Bearer two" {
			t.Fatalf("%v, %q", err, s.tokens)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if err := ask(t, c); !errors.Is(err, ErrToken) || s.count() != 2 {
			t.Fatalf("%v, %d calls", err, s.count())
		}
	})
}

func TestTokenIsNeverPrinted(t *testing.T) {
	src := StaticToken(secret)
	cfg := Config{BaseURL: "https://h", Token: src, Rate: 1}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v %+v %#v %s %q %x %d %v %+v %#v", src, src, src, src, src, src, src, cfg, cfg, cfg)
	b.WriteString(src.String() + src.GoString())
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("x", "token", src, "cfg", struct{ T *TokenSource }{src})
	}
	j, err := json.Marshal(map[string]any{"t": src})
	if err != nil {
		t.Fatal(err)
	}
	b.Write(j)
	if s := b.String(); strings.Contains(s, secret) || strings.Contains(s, fmt.Sprintf("%x", secret)) || !strings.Contains(s, redacted) {
		t.Error(s)
	}
}
