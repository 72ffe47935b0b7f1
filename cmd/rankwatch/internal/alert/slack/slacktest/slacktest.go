// Package slacktest plays Slack for tests: an incoming webhook and
// chat.postMessage, with the documented limits enforced, and the ways in which
// Slack and the network fail.
//
// It records what it took. What it refuses is not recorded; what it takes and
// then reports as failed is (Fault.Taken).
package slacktest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The credentials that the fake takes unless Config has others.
const (
	Token   = "xoxb-1111-2222-fakeTokenSecret"
	Channel = "C0123456789"
	Secret  = "fakeHookSecret24chars000"
)

// Config says how the fake behaves. The zero value takes Token, Channel and
// Secret, and a message a second per channel and webhook with a burst of 2.
type Config struct {
	Token    string
	Channels []string
	Secret   string
	Every    time.Duration // least time between messages, negative for no limit
	Burst    int
	// Unthreaded says what becomes of a reply to a message that was deleted:
	// refused with this word, or posted to the channel if it is empty.
	Unthreaded string
	// FaultRate is the share of calls, 0..1, that meet a fault drawn with Seed.
	FaultRate float64
	Seed      uint64
}

// A Fault is what one call meets.
type Fault struct {
	// Word is an error word: of an answer with ok:false, or the body of a
	// webhook's answer. Why stands beside invalid_blocks.
	Word string
	Why  []string
	// Status is that of the answer, by default 200 for the API and what is
	// documented for the webhook's word.
	Status     int
	RetryAfter int           // seconds, for the header; 0 for none
	HTML       bool          // a page instead of an answer
	Body       string        // an answer of any kind
	Delay      time.Duration // before anything else
	Reset      bool          // the connection ends without an answer
	Taken      bool          // the message is taken all the same
}

// A Message is one that the fake took.
type Message struct {
	Webhook  bool
	Channel  string
	TS       string
	ThreadTS string // of the parent; empty for a message of the channel itself
	Text     string
	Blocks   json.RawMessage
	At       time.Time
	Reported bool // false if the sender was told that it failed
}

// Slack is the fake. It is an http.Handler, for tests that bring their own
// transport.
type Slack struct {
	cfg Config

	mu       sync.Mutex
	random   *rand.Rand
	script   []Fault
	limits   map[string]*rate.Limiter
	accepted []Message
	deleted  map[string]bool
	calls    int
}

// NewHandler makes a fake without a server.
func NewHandler(cfg Config) *Slack {
	if cfg.Token == "" {
		cfg.Token = Token
	}
	if cfg.Channels == nil {
		cfg.Channels = []string{Channel}
	}
	if cfg.Secret == "" {
		cfg.Secret = Secret
	}
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Burst == 0 {
		cfg.Burst = 2
	}
	return &Slack{
		cfg: cfg, random: rand.New(rand.NewPCG(cfg.Seed, 1)), // #nosec G404
		limits: map[string]*rate.Limiter{}, deleted: map[string]bool{},
	}
}

// A Server is a fake that listens.
type Server struct {
	*Slack
	http *httptest.Server
}

// New starts a fake on a free port of 127.0.0.1. Close ends it.
func New(cfg Config) *Server {
	s := NewHandler(cfg)
	return &Server{Slack: s, http: httptest.NewServer(s)}
}

// Close ends the server and the calls that hang.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// URL is the server's, without a path.
func (s *Server) URL() string { return s.http.URL }

// WebhookURL is the incoming webhook with its secret.
func (s *Server) WebhookURL() string { return s.http.URL + s.HookPath() }

// APIURL is what Web API methods are appended to.
func (s *Server) APIURL() string { return s.http.URL + "/api/" }

// HookPath is the path of the incoming webhook.
func (s *Slack) HookPath() string { return "/services/T00000000/B00000000/" + s.cfg.Secret }

// Fail makes the next calls meet these faults, one each; the zero Fault is
// none.
func (s *Slack) Fail(script ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, script...)
}

// Accepted returns what was taken, in order.
func (s *Slack) Accepted() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

// Calls counts all calls, whatever became of them.
func (s *Slack) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Delete deletes a message, as a person in the channel might.
func (s *Slack) Delete(ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleted[ts] = true
}

// fault is what this call meets.
func (s *Slack) fault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if len(s.script) > 0 {
		f := s.script[0]
		s.script = s.script[1:]
		return f
	}
	if s.random.Float64() >= s.cfg.FaultRate {
		return Fault{}
	}
	all := []Fault{
		{Reset: true},
		{Reset: true, Taken: true},
		{Status: http.StatusBadGateway, HTML: true},
		{Status: http.StatusServiceUnavailable, Word: "service_unavailable"},
		{Status: http.StatusTooManyRequests, Word: "ratelimited", RetryAfter: 1},
		{Word: "internal_error", Status: http.StatusInternalServerError},
		{Delay: 50 * time.Millisecond},
	}
	return all[s.random.IntN(len(all))]
}

// limited takes a call's place in the rate, or says how long to wait.
func (s *Slack) limited(key string) (seconds int) {
	if s.cfg.Every < 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.limits[key]
	if l == nil {
		l = rate.NewLimiter(rate.Every(s.cfg.Every), s.cfg.Burst)
		s.limits[key] = l
	}
	if l.Allow() {
		return 0
	}
	return max(1, int(s.cfg.Every/time.Second))
}

// take records a message and gives it its ts. A reply whose parent is gone is
// taken as a message of the channel.
func (s *Slack) take(m Message, reported bool) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.At, m.Reported = time.Now(), reported
	m.TS = fmt.Sprintf("%d.%06d", m.At.Unix(), len(s.accepted)+1)
	if m.ThreadTS != "" && !s.lives(m.ThreadTS) {
		m.ThreadTS = ""
	}
	s.accepted = append(s.accepted, m)
	return m
}

func (s *Slack) lives(ts string) bool {
	return !s.deleted[ts] && slices.ContainsFunc(s.accepted, func(m Message) bool { return m.TS == ts })
}

// orphan tells a reply that Config says is refused.
func (s *Slack) orphan(ts string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ts != "" && s.cfg.Unthreaded != "" && !s.lives(ts)
}

var link = regexp.MustCompile(`<[^>|]*\|([^>]*)>`)

// Plain is a message as people read it, without its links.
func (m Message) Plain() string {
	var blocks []struct {
		Text     object   `json:"text"`
		Elements []object `json:"elements"`
		Fields   []object `json:"fields"`
	}
	if json.Unmarshal(m.Blocks, &blocks) != nil || len(blocks) == 0 {
		return m.Text
	}
	var lines []string
	for _, b := range blocks {
		for _, o := range append(append([]object{b.Text}, b.Elements...), b.Fields...) {
			switch o.Type {
			case "mrkdwn":
				s := link.ReplaceAllString(o.Text, "$1")
				lines = append(lines, strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s))
			case "plain_text":
				lines = append(lines, o.Text)
			}
		}
	}
	return strings.Join(lines, "\n")
}

func retryAfter(w http.ResponseWriter, seconds int) {
	if seconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
}
