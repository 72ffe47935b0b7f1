package fastmoss

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// ErrToken means that there is no usable token to send. No call was made.
var ErrToken = errors.New("fastmoss: no usable token")

const (
	// tokenCheck is how often, at most, a token file is looked at.
	tokenCheck = time.Second
	// tokenSettled is how old a file's time stamp must be to tell two versions
	// apart; within it a change may have left the stamp as it was.
	tokenSettled = 2 * time.Second
	maxToken     = 16 << 10 // bytes
)

// A TokenSource holds the secret that calls are authorised with. Printed,
// logged or marshalled, it shows [redacted]. It is safe for concurrent use.
type TokenSource struct {
	path string // empty: the value never changes

	mu      sync.Mutex
	value   string
	version uint64 // rises with each new value
	err     error
	checked time.Time
	seen    os.FileInfo // of the version that was read; nil = read again
}

// StaticToken is a token that never changes. White space around it is dropped.
func StaticToken(value string) *TokenSource {
	t := &TokenSource{version: 1}
	t.value, t.err = parseToken(value)
	return t
}

// FileToken is a token in a file, read again when the file changes, so that it
// can be rotated while calls go on. White space around it is dropped.
func FileToken(path string) *TokenSource { return &TokenSource{path: path} }

// Token returns the present token. Its errors wrap ErrToken and hold nothing of
// the file's content.
func (t *TokenSource) Token() (string, error) {
	value, _, err := t.current()
	return value, err
}

// current also tells which version of the token it is.
func (t *TokenSource) current() (string, uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path != "" && time.Since(t.checked) >= tokenCheck {
		t.read()
	}
	return t.value, t.version, t.err
}

// renewed looks at the file at once, for a call made with the given version was
// denied, and says whether there is another token now.
func (t *TokenSource) renewed(version uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path != "" && t.version == version {
		t.seen = nil
		t.read()
	}
	return t.err == nil && t.version != version
}

// expire makes the next use look at the file.
func (t *TokenSource) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.checked, t.seen = time.Time{}, nil
}

// read brings value and err up to date with the file. The caller holds mu.
func (t *TokenSource) read() {
	t.checked = time.Now()
	info, err := os.Stat(t.path)
	if err != nil {
		t.fail(err)
		return
	}
	if t.seen != nil && os.SameFile(info, t.seen) && info.Size() == t.seen.Size() && info.ModTime().Equal(t.seen.ModTime()) {
		return
	}
	text, err := readSmall(t.path)
	if err != nil {
		t.fail(err)
		return
	}
	value, err := parseToken(text)
	if err != nil {
		t.fail(fmt.Errorf("token file %q: %w", t.path, err))
		return
	}
	t.err = nil
	if value != t.value {
		t.value = value
		t.version++
	}
	t.seen = nil
	if t.checked.Sub(info.ModTime()) > tokenSettled {
		t.seen = info
	}
}

func (t *TokenSource) fail(err error) {
	if !errors.Is(err, ErrToken) {
		err = fmt.Errorf("%w: %w", ErrToken, err)
	}
	t.err, t.seen = err, nil
}

func readSmall(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	return string(b), err
}

func parseToken(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", fmt.Errorf("%w: it is empty; set it to the key that the API's owner gave you", ErrToken)
	}
	if len(s) > maxToken {
		return "", fmt.Errorf("%w: it is longer than %d bytes, so it is something else", ErrToken, maxToken)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return "", fmt.Errorf("%w: byte %d cannot be part of a token; keep the token alone, on one line", ErrToken, i+1)
		}
	}
	return s, nil
}

// String hides the token.
func (t *TokenSource) String() string { return redacted }

// GoString hides the token.
func (t *TokenSource) GoString() string { return redacted }

// Format hides the token from every verb.
func (t *TokenSource) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue hides the token.
func (t *TokenSource) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the token.
func (t *TokenSource) MarshalText() ([]byte, error) { return []byte(redacted), nil }
