package settings

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Bounds of what is sensible. A backlog must hold at least a few statuses; a
// stream cannot have more than five replicas.
const (
	minBacklog     = 64 << 10
	minRetention   = time.Second
	maxReplicas    = 5
	maxConcurrency = 1024
	maxRate        = 1e6
	maxName        = 64
)

type problems struct{ list []Problem }

func (p *problems) add(variable, format string, args ...any) {
	p.list = append(p.list, Problem{Variable: prefix + "_" + variable, Text: fmt.Sprintf(format, args...)})
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &Error{Problems: p.list}
}

func (p *problems) convert(r raw) Settings {
	s := Settings{
		Watchlists: r.Watchlists,
		DataDir:    r.DataDir,
		NATS:       p.nats(r),
		Stream:     p.name("STREAM", r.Stream, streamName, "letters, digits, - and _"),
		Prefix:     p.name("SUBJECT_PREFIX", r.SubjectPrefix, subjectPrefix, "words of letters, digits, - and _ that begin with a letter or digit, with a dot between two words"),
		Replicas:   p.integer("REPLICAS", r.Replicas, maxReplicas),
		Retention:  p.duration("RETENTION", r.Retention, minRetention),
		Backlog:    p.size("BACKLOG", r.Backlog),
		HTTP:       p.http(r),
		FastMoss:   p.fastmoss(r),
		Alert:      p.alert(r),
		OTLP:       p.otlp(r.OTLPEndpoint),
		Log:        p.log(r),
	}
	if s.NATS.Embedded() && s.Replicas > 1 {
		p.add("REPLICAS", "%d replicas need an external cluster: set RANKWATCH_NATS_URL, or leave it at 1 with the embedded server", s.Replicas)
	}
	switch on, err := strconv.ParseBool(r.Cluster); {
	case err != nil:
		p.add("CLUSTER", "%q is neither true nor false", r.Cluster)
	case on && s.NATS.Embedded():
		p.add("CLUSTER", "workers that share watchlists need a NATS server that they all reach: set RANKWATCH_NATS_URL")
	default:
		s.Cluster = on
	}
	return s
}

func (p *problems) nats(r raw) NATS {
	n := NATS{
		Creds: p.file("NATS_CREDS", r.NATSCreds), NKey: p.file("NATS_NKEY", r.NATSNKey),
		TLSCA: p.file("NATS_TLS_CA", r.NATSTLSCA), TLSCert: p.file("NATS_TLS_CERT", r.NATSTLSCert), TLSKey: p.file("NATS_TLS_KEY", r.NATSTLSKey),
		Listen: p.natsListen(r),
	}
	if r.NATSURL == "" {
		for _, v := range []struct{ name, value string }{
			{"NATS_CREDS", n.Creds}, {"NATS_NKEY", n.NKey}, {"NATS_TLS_CA", n.TLSCA}, {"NATS_TLS_CERT", n.TLSCert}, {"NATS_TLS_KEY", n.TLSKey},
		} {
			if v.value != "" {
				p.add(v.name, "is only for an external server: set RANKWATCH_NATS_URL too, or unset it")
			}
		}
		return n
	}
	for i, text := range strings.Split(r.NATSURL, ",") {
		n.URLs = append(n.URLs, p.serverURL(i+1, strings.TrimSpace(text)))
	}
	if n.Creds != "" && n.NKey != "" {
		p.add("NATS_NKEY", "set either it or RANKWATCH_NATS_CREDS, not both")
	}
	if (n.TLSCert == "") != (n.TLSKey == "") {
		p.add("NATS_TLS_CERT", "needs RANKWATCH_NATS_TLS_KEY and the other way round: set both or neither")
	}
	return n
}

func (p *problems) natsListen(r raw) string {
	return p.listen("NATS_LISTEN", r.NATSListen, "127.0.0.1:4222")
}

// serverURL checks one URL of the list. Messages give its place in the list,
// not its text, which may hold a password.
func (p *problems) serverURL(n int, text string) string {
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		p.add("NATS_URL", "URL %d of the list has no valid host: write nats://host:4222", n)
	case u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss":
		p.add("NATS_URL", "URL %d of the list has the scheme %q: allowed are nats, tls, ws and wss", n, u.Scheme)
	}
	return text
}

func (p *problems) fastmoss(r raw) FastMoss {
	f := FastMoss{
		URL:         r.FastMossURL,
		Token:       Secret{strings.TrimSpace(r.FastMossToken)},
		TokenFile:   r.FastMossTokenFile,
		Concurrency: p.integer("FASTMOSS_CONCURRENCY", r.FastMossConcurrency, maxConcurrency),
		Timeout:     p.duration("FASTMOSS_TIMEOUT", r.FastMossTimeout, time.Millisecond),
	}
	p.baseURL("FASTMOSS_URL", f.URL, "https://host", "the token goes into RANKWATCH_FASTMOSS_TOKEN")
	var err error
	f.Rate, err = strconv.ParseFloat(r.FastMossRate, 64)
	if err != nil || math.IsNaN(f.Rate) || f.Rate <= 0 || f.Rate > maxRate {
		p.add("FASTMOSS_RATE", "%q is not a number of calls per second above 0, such as 2 or 0.5", r.FastMossRate)
	}
	if f.Token.Set() && f.TokenFile != "" {
		p.add("FASTMOSS_TOKEN_FILE", "set either it or RANKWATCH_FASTMOSS_TOKEN, not both")
	}
	p.file("FASTMOSS_TOKEN_FILE", f.TokenFile)
	return f
}

// MinHTTPToken is the length in bytes below which a token could be guessed.
const MinHTTPToken = 16

func (p *problems) http(r raw) HTTP {
	h := HTTP{Listen: p.listen("HTTP_LISTEN", r.HTTPListen, "127.0.0.1:8080"), Token: Secret{strings.TrimSpace(r.HTTPToken)}, TokenFile: p.file("HTTP_TOKEN_FILE", r.HTTPTokenFile)}
	if h.Token.Set() && h.TokenFile != "" {
		p.add("HTTP_TOKEN_FILE", "set either it or RANKWATCH_HTTP_TOKEN, not both")
	}
	if n := len(h.Token.value); n > 0 && n < MinHTTPToken {
		p.add("HTTP_TOKEN", "is shorter than %d characters: make one with `openssl rand -hex 32`", MinHTTPToken)
	}
	for _, host := range strings.Split(r.HTTPHosts, ",") {
		host = strings.ToLower(strings.TrimSpace(host))
		if host == "" {
			continue
		}
		if !hostName.MatchString(host) {
			p.add("HTTP_HOSTS", "%q is not a host name: write names such as rankwatch.example.com, without scheme and port, a comma between two", host)
		}
		h.Hosts = append(h.Hosts, host)
	}
	return h
}

func (p *problems) otlp(text string) string {
	if text != "" {
		p.baseURL("OTLP_ENDPOINT", text, "http://collector:4318", "headers go into OTEL_EXPORTER_OTLP_HEADERS")
	}
	return text
}

// baseURL checks a URL of the form of an example, to which paths are added. Secrets
// do not belong into it but elsewhere.
func (p *problems) baseURL(variable, text, example, elsewhere string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		p.add(variable, "is not a URL of the form %s", example)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		p.add(variable, "must not hold a user, a query or a fragment: %s", elsewhere)
	}
}

func (p *problems) alert(r raw) Alert {
	secret := func(s string) Secret { return Secret{strings.TrimSpace(s)} }
	a := Alert{
		File:         strings.TrimSpace(r.Alerts),
		SlackWebhook: secret(r.AlertSlackWebhook), SlackToken: secret(r.AlertSlackToken), SlackChannel: strings.TrimSpace(r.AlertSlackChannel),
		WebhookURL: secret(r.AlertWebhookURL), WebhookSecret: secret(r.AlertWebhookSecret), ServiceURL: secret(r.AlertServiceURL),
	}
	var err error
	if a.AllowPrivate, err = strconv.ParseBool(r.AlertAllowPrivate); err != nil {
		p.add("ALERT_ALLOW_PRIVATE", "%q is neither true nor false", r.AlertAllowPrivate)
	}
	return a
}

func (p *problems) log(r raw) Log {
	l := Log{Format: strings.ToLower(r.LogFormat)}
	if err := l.Level.UnmarshalText([]byte(r.LogLevel)); err != nil {
		p.add("LOG_LEVEL", "%q is not a level: allowed are debug, info, warn and error", r.LogLevel)
		l.Level = slog.LevelInfo
	}
	if l.Format != "" && l.Format != "text" && l.Format != "json" {
		p.add("LOG_FORMAT", "%q is not a format: allowed are text and json", r.LogFormat)
	}
	return l
}

// Both names become part of subjects, and the stream's of a path too. A prefix
// that began with _ or $ would lie on subjects that are internal.
var (
	hostName      = regexp.MustCompile(`^(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$`)
	streamName    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	subjectPrefix = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9][A-Za-z0-9_-]*)*$`)
)

func (p *problems) name(variable, text string, form *regexp.Regexp, allowed string) string {
	if len(text) > maxName || !form.MatchString(text) {
		p.add(variable, "%q is not allowed: use %s, at most %d characters", text, allowed, maxName)
	}
	return text
}

func (p *problems) integer(variable, text string, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		p.add(variable, "%q is not a whole number from 1 to %d", text, most)
	}
	return n
}

func (p *problems) duration(variable, text string, least time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || d < least {
		p.add(variable, "%q is not a duration of at least %s, such as 90s, 20m or 2160h", text, least)
	}
	return d
}

func (p *problems) size(variable, text string) int64 {
	n, err := humanize.ParseBytes(text)
	if err != nil || n < minBacklog || n > math.MaxInt64 {
		p.add(variable, "%q is not a size of at least %s, such as 512MiB or 1GiB", text, humanize.IBytes(minBacklog))
		return minBacklog
	}
	return int64(n)
}

// listen returns the address to listen on, empty for off.
func (p *problems) listen(variable, text, example string) string {
	if strings.EqualFold(text, "off") {
		return ""
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		p.add(variable, "%q is not host:port with a port from 0 (any) to 65535, such as %s, nor off", text, example)
	}
	return text
}

// file checks that a path can be read, so that a wrong one is found before
// anything starts.
func (p *problems) file(variable, path string) string {
	if path == "" {
		return ""
	}
	if err := readable(path); err != nil {
		p.add(variable, "the file cannot be read: %v", err)
	}
	return path
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	// A directory opens but does not read.
	_, err = f.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
