package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
)

const (
	// tokenCheck is how often, at most, a token file is looked at.
	tokenCheck = time.Second
	maxToken   = 4 << 10 // bytes
)

// A token is the secret that API and metrics ask for. One in a file is read again
// when it changes.
type token struct {
	path string // empty: it never changes
	log  *slog.Logger

	mu      sync.Mutex
	digest  [sha256.Size]byte
	err     error
	checked time.Time
}

// newToken returns nil if none is set.
func newToken(s settings.HTTP, log *slog.Logger) *token {
	switch {
	case s.Token.Set():
		return &token{digest: sha256.Sum256([]byte(s.Token.Reveal()))}
	case s.TokenFile != "":
		return &token{path: s.TokenFile, log: log}
	}
	return nil
}

// is compares in a time that does not depend on the secret. With a file that
// cannot be used, nothing is it.
func (t *token) is(given string) (bool, error) {
	t.mu.Lock()
	if t.path != "" && time.Since(t.checked) >= tokenCheck {
		t.read()
	}
	want, err := t.digest, t.err
	t.mu.Unlock()
	if err != nil {
		return false, err
	}
	got := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1, nil
}

// read brings the token up to date with the file. The caller holds mu.
func (t *token) read() {
	t.checked = time.Now()
	text, err := readToken(t.path)
	if err != nil && t.err == nil && t.log != nil {
		t.log.Error("http token unusable, API and metrics are closed", "file", t.path, "err", err)
	}
	t.digest, t.err = sha256.Sum256([]byte(text)), err
}

// readToken reads a token file. Its errors hold nothing of the content.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	text := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxToken:
		return "", fmt.Errorf("it is longer than %d bytes, so it is something else", maxToken)
	case len(text) < settings.MinHTTPToken:
		return "", fmt.Errorf("it is shorter than %d characters: make one with `openssl rand -hex 32`", settings.MinHTTPToken)
	case strings.ContainsAny(text, " \t\r\n"):
		return "", errors.New("it has more than one word; keep the token alone, on one line")
	}
	return text, nil
}
