// Package webhook brings alerts to whoever takes an HTTP POST, signed as
// Standard Webhooks has it.
//
// A message's id and body are the same in every attempt, also after a restart,
// so that a receiver that remembers ids can drop what it has already taken.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
)

// Text renders a message for people.
type Text interface {
	Body(m *digest.Message) (string, error)
}

// A Config is one target. URL, the secrets and the headers' values are secret:
// nothing of them is in an error.
type Config struct {
	URL string
	// Secret signs; see CheckSecret. PreviousSecret signs too, while a receiver
	// changes from one to the other. Without a secret nothing is signed.
	Secret, PreviousSecret string
	Headers                map[string]string
	// Shared says that several routes send here. Then the id that receivers drop
	// repeats by ends with `@` and the route, since one reading gives one message a
	// route.
	Shared  bool
	Client  *http.Client // of package outgoing
	Version string       // of rankwatch, for the User-Agent
	Text    Text         // nil leaves the text empty
}

// A Sender is a digest.Sender.
type Sender struct {
	url     *url.URL
	signer  signer
	headers http.Header
	secrets []string // the headers' values
	config  Config
}

// New checks a configuration, all of it at once. It makes no connection.
func New(c Config) (*Sender, error) {
	u, uerr := outgoing.ParseURL(c.URL)
	sign, serr := newSigner(c.Secret, c.PreviousSecret)
	if c.Secret == "" && c.PreviousSecret != "" {
		serr = errors.New("there is a previous signing secret and no present one")
	}
	headers, herr := headersOf(c.Headers)
	if err := errors.Join(uerr, serr, herr); err != nil {
		return nil, err
	}
	if c.Client == nil {
		return nil, errors.New("webhook: no client")
	}
	return &Sender{url: u, signer: sign, headers: headers, secrets: slices.Collect(maps.Values(c.Headers)), config: c}, nil
}

// reserved says whether a configuration cannot set a header: ours, the
// signature's and those that belong to one connection.
func reserved(canonical string) bool {
	switch canonical {
	case "Host", "Content-Length", "Content-Type", "Content-Encoding", "Accept-Encoding", "Expect",
		"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return strings.HasPrefix(canonical, "Webhook-")
}

// CheckHeader says whether a configuration may set a header to a value. The
// error does not hold the value.
func CheckHeader(name, value string) error {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%q is not the name of a header", name)
	case reserved(canonical):
		return fmt.Errorf("the header %s cannot be set", canonical)
	case !httpguts.ValidHeaderFieldValue(value):
		return fmt.Errorf("the value of the header %s has characters that a header cannot have", canonical)
	}
	return nil
}

func headersOf(in map[string]string) (http.Header, error) {
	out := http.Header{}
	var errs []error
	for name, value := range in {
		if err := CheckHeader(name, value); err != nil {
			errs = append(errs, err)
			continue
		}
		if _, twice := out[textproto.CanonicalMIMEHeaderKey(name)]; twice {
			errs = append(errs, fmt.Errorf("the header %s is there twice", textproto.CanonicalMIMEHeaderKey(name)))
		}
		out.Set(name, value)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return out, errors.Join(errs...)
}

// Send posts a message. Any 2xx is a success.
func (s *Sender) Send(ctx context.Context, m *digest.Message) error {
	text := ""
	if s.config.Text != nil {
		var err error
		if text, err = s.config.Text.Body(m); err != nil {
			return &digest.RefusedError{Reason: "template", Err: err}
		}
	}
	body, err := encode(BodyOf(m, text))
	if err != nil {
		return &digest.RefusedError{Reason: "encoding", Err: err}
	}
	req, err := s.request(ctx, m, body)
	if err != nil {
		return fmt.Errorf("webhook: send %s: %w", m.ID, err)
	}
	res, err := s.config.Client.Do(req)
	if err != nil {
		return fmt.Errorf("webhook: send %s: %w", m.ID, outgoing.Conceal(outgoing.Strip(err), s.secrets...))
	}
	// What it says beside the code is not read: the receiver has taken the message
	// or it has not.
	defer func() { _ = res.Body.Close() }()
	if err := outgoing.Answer(res, time.Now()); err != nil {
		return fmt.Errorf("webhook: send %s: %w", m.ID, err)
	}
	return nil
}

func (s *Sender) request(ctx context.Context, m *digest.Message, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, outgoing.Strip(err)
	}
	req.Header = s.headers.Clone()
	req.Header.Set("Content-Type", "application/json")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "rankwatch/"+s.config.Version)
	}
	id := headerID(m.ID)
	if s.config.Shared {
		id += "@" + headerID(m.Route)
	}
	at := time.Now()
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	if len(s.signer) > 0 {
		signature, err := s.signer.sign(id, at, body)
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	}
	return req, nil
}
