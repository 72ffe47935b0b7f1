package alert

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
)

// A setup is a configuration made ready. Text writes a message for people, with
// its route's template if it has one.
type setup struct {
	Name     string
	Routes   []digest.Route
	Targets  map[string]digest.Sender
	RetryFor time.Duration
	Text     func(*digest.Message) (string, error)
}

// targetURL stands in for a configuration's targets: messages are posted there
// as JSON.
const targetURL = "RANKWATCH_ALERT_TEST_URL"

// load reads a configuration; an empty path is the default one. It returns all
// mistakes at once.
func load(path string) (*setup, error) {
	s := &setup{Name: "default", Routes: digest.DefaultRoutes("url"), Targets: map[string]digest.Sender{}, RetryFor: 24 * time.Hour, Text: words}
	if path != "" {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("--config: %w", err)
		}
		s.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	url := os.Getenv(targetURL)
	if url == "" {
		return nil, fmt.Errorf("no target: set %s to where messages are posted", targetURL)
	}
	s.Targets["url"] = &poster{url: url, client: &http.Client{Timeout: 2 * time.Second}}
	return s, nil
}

// words writes a message plainly.
func words(m *digest.Message) (string, error) {
	var b strings.Builder
	style := text.Style{}
	for i := range m.Sections {
		s := &m.Sections[i]
		fmt.Fprintf(&b, "%s, %s\n", s.Reading.ID, text.Some(s.Changes(), "change"))
		for _, c := range s.Shown {
			b.WriteString(style.Line(c, strings.Join(text.Why(c), ", ")))
		}
		if more := s.Changes() - len(s.Shown); more > 0 {
			fmt.Fprintf(&b, "  and %d more\n", more)
		}
	}
	for i := range m.Notices {
		n := &m.Notices[i]
		fmt.Fprintf(&b, "%s is %s: %s\n", n.Watchlist, n.Status, text.Printable(cmp.Or(n.Detail, n.Reason)))
	}
	return b.String(), nil
}

// A poster posts messages as JSON.
type poster struct {
	url    string
	client *http.Client
}

// Send posts one message.
func (p *poster) Send(ctx context.Context, m *digest.Message) (err error) {
	body, err := json.Marshal(m)
	if err != nil {
		return &digest.RefusedError{Reason: "unencodable", Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return errors.New("no answer")
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)); err != nil {
		return errors.New("no answer")
	}
	status := errors.New(resp.Status)
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusTooManyRequests:
		n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil {
			n = 1
		}
		return &digest.LaterError{After: time.Duration(n) * time.Second, Err: status}
	case resp.StatusCode >= 400 && resp.StatusCode < 500:
		return &digest.RefusedError{Reason: "status_" + strconv.Itoa(resp.StatusCode), Err: status}
	}
	return status
}
