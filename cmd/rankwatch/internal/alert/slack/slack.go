// Package slack brings messages to Slack: through an incoming webhook, or with a
// bot token through chat.postMessage.
//
// A digest.Message becomes one message of Slack's, whatever is in it. Slack
// knows no idempotency: if an answer is lost, the message may be there, and comes
// again when it is tried again.
//
// No error holds the webhook's path or the token.
package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"golang.org/x/time/rate"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
)

// Config is a target: either Webhook, or Token and Channel.
type Config struct {
	Webhook string // the whole URL, a secret
	Token   string // of a bot, with the scope chat:write; a secret
	Channel string // an id such as C0123456789
	// API is what methods are appended to, https://slack.com/api/ by default.
	API    string
	Client *http.Client
	// Threads makes one thread of a board's messages of a period; nil for none.
	// Webhooks have none, since they do not tell what they posted.
	Threads Threads
	Log     *slog.Logger
}

// Every is how far apart messages to one target are. Slack allows about one a
// second.
const Every = time.Second

// callTimeout ends a call that hangs, and maxAnswer an answer that does not end.
const (
	callTimeout = 30 * time.Second
	maxAnswer   = 1 << 20
)

// A Sender is a digest.Sender. Calls of several goroutines take turns.
type Sender struct {
	cfg     Config
	api     *slack.Client
	secrets []string
	pace    *rate.Limiter

	mu    sync.Mutex
	held  *digest.LaterError // why Slack wants nothing
	until time.Time          // before then
}

// New makes a sender. It calls nothing. Its errors tell every mistake and no
// secret.
func New(cfg Config) (*Sender, error) {
	s := &Sender{cfg: cfg, pace: rate.NewLimiter(rate.Every(Every), 1)}
	var errs []error
	hook, bot := cfg.Webhook != "", cfg.Token != "" || cfg.Channel != ""
	switch {
	case hook == bot:
		errs = append(errs, errors.New("slack: give either a webhook, or a token and a channel"))
	case hook:
		u, err := url.Parse(cfg.Webhook)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			errs = append(errs, errors.New("slack: the webhook is no URL such as https://hooks.slack.com/services/…"))
			break
		}
		s.secrets = secretsOf(u)
	case cfg.Token == "":
		errs = append(errs, errors.New("slack: a channel needs a token"))
	case cfg.Channel == "":
		errs = append(errs, errors.New("slack: a token needs a channel"))
	}
	if cfg.Client == nil {
		errs = append(errs, errors.New("slack: no HTTP client"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if s.cfg.Log == nil {
		s.cfg.Log = slog.New(slog.DiscardHandler)
	}
	if bot {
		s.secrets = []string{cfg.Token, url.QueryEscape(cfg.Token)}
		if s.cfg.API == "" {
			s.cfg.API = slack.APIURL
		}
		s.api = slack.New(cfg.Token, slack.OptionAPIURL(strings.TrimSuffix(s.cfg.API, "/")+"/"), slack.OptionHTTPClient(bounded{cfg.Client}))
	}
	return s, nil
}

// secretsOf are the forms in which the secret part of a webhook's URL may turn
// up in a text.
func secretsOf(u *url.URL) []string {
	out := []string{u.String()}
	if u.RawQuery != "" {
		out = append(out, u.RawQuery)
	}
	for _, p := range []string{u.Path, u.EscapedPath()} {
		if len(p) > 1 {
			out = append(out, p)
		}
		if last := p[strings.LastIndexByte(p, '/')+1:]; len(last) > 7 {
			out = append(out, last)
		}
	}
	if password, ok := u.User.Password(); ok && password != "" {
		out = append(out, password)
	}
	return out
}

// Send implements digest.Sender.
func (s *Sender) Send(ctx context.Context, m *digest.Message) error {
	if err := s.pace.Wait(ctx); err != nil {
		return fmt.Errorf("slack: %w", err)
	}
	if held := s.wait(); held != nil {
		return held
	}
	p := Render(m)
	var err error
	if s.api == nil {
		err = s.hook(ctx, p)
	} else {
		err = s.post(ctx, m, p)
	}
	if later := (*digest.LaterError)(nil); errors.As(err, &later) {
		s.hold(later)
	}
	return err
}

// wait is why and how long Slack still wants nothing, nil if it does. What it
// says to one route holds for the others that send to the same channel.
func (s *Sender) wait() *digest.LaterError {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := time.Until(s.until)
	if left <= 0 {
		return nil
	}
	return &digest.LaterError{After: left, Blocked: s.held.Blocked, Err: s.held.Err}
}

func (s *Sender) hold(why *digest.LaterError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := time.Now().Add(why.After); t.After(s.until) {
		s.until, s.held = t, why
	}
}

// hook posts to the incoming webhook. Only the answer "ok" is success.
func (s *Sender) hook(ctx context.Context, p Payload) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	no := false
	body, err := json.Marshal(&slack.WebhookMessage{
		Text: p.Text, Blocks: &slack.Blocks{BlockSet: p.Blocks}, UnfurlLinks: &no, UnfurlMedia: &no,
	})
	if err != nil {
		return fmt.Errorf("slack: encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.Webhook, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("slack: %w", s.leafless(err))
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := bounded{s.cfg.Client}.Do(req)
	if err != nil {
		return fmt.Errorf("slack: %w", s.leafless(err))
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("slack: read the answer: %w", s.leafless(err))
	}
	return s.hookAnswer(resp, strings.TrimSpace(string(answer)))
}

// hookAnswer reads a webhook's answer: a status and a word.
func (s *Sender) hookAnswer(resp *http.Response, word string) error {
	switch {
	case resp.StatusCode == http.StatusOK && word == "ok":
		return nil
	case resp.StatusCode == http.StatusTooManyRequests:
		after, _ := outgoing.RetryAfter(resp.Header, time.Now())
		return refusal("ratelimited", after, nil)
	case resp.StatusCode == http.StatusOK:
		return errors.New("slack: an answer other than ok")
	case resp.StatusCode == http.StatusRequestEntityTooLarge:
		return tooLarge()
	case resp.StatusCode >= http.StatusInternalServerError || !wordPattern.MatchString(word):
		return fmt.Errorf("slack: HTTP %d", resp.StatusCode)
	}
	return s.scrubbed(refusal(word, 0, nil))
}

var wordPattern = regexp.MustCompile(`^[a-z][a-z_]{1,63}$`)

// post posts with the bot token, as a reply if the thread has begun.
func (s *Sender) post(ctx context.Context, m *digest.Message, p Payload) error {
	key := ""
	if s.cfg.Threads != nil {
		key = threadKey(s.cfg.Channel, m)
	}
	parent := ""
	if key != "" {
		ts, ok, err := s.cfg.Threads.Get(ctx, key)
		if err != nil {
			// News matter more than where they stand.
			s.cfg.Log.Warn("thread not looked up, sent without one", "key", key, "err", err)
			key = ""
		} else if ok {
			parent = ts
		}
	}
	ts, replied, err := s.call(ctx, p, parent)
	if word := (slack.SlackErrorResponse{}); parent != "" && errors.As(err, &word) && faultOf(word.Err) == faultOrphan {
		// Somebody deleted the first message.
		if err := s.pace.Wait(ctx); err != nil {
			return fmt.Errorf("slack: %w", err)
		}
		ts, replied, err = s.call(ctx, p, "")
	}
	if err != nil {
		return s.sorted(err)
	}
	if ts == "" {
		return errors.New("slack: an answer without ts")
	}
	if key != "" && !replied {
		// The message was taken: an error here would send it again. What is lost is
		// that the next one begins a thread of its own.
		if err := s.cfg.Threads.Put(ctx, key, ts); err != nil {
			s.cfg.Log.Warn("thread not remembered", "key", key, "err", err)
		}
	}
	return nil
}

// call posts once. replied is false for a message of the channel itself, which
// is also what Slack makes of some replies whose parent was deleted.
func (s *Sender) call(ctx context.Context, p Payload, parent string) (ts string, replied bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	options := []slack.MsgOption{
		slack.MsgOptionText(p.Text, false), slack.MsgOptionBlocks(p.Blocks...),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
	if parent != "" {
		options = append(options, slack.MsgOptionTS(parent))
	}
	_, ts, posted, err := s.api.PostMessageWithResponseContext(ctx, s.cfg.Channel, options...)
	if err != nil {
		return "", false, err
	}
	return ts, parent != "" && posted.ThreadTimestamp != "", nil
}

// bounded reads no more of an answer than one may have.
type bounded struct{ *http.Client }

func (b bounded) Do(req *http.Request) (*http.Response, error) {
	resp, err := b.Client.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}
