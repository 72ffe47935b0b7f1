// Package settings reads the process settings from the environment.
//
// It reports all mistakes at once, each with the variable, its value and what
// is allowed. A secret's value is never part of a message.
package settings

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"
)

// Settings are the settings of one process.
type Settings struct {
	Watchlists string // path of the watchlist file
	DataDir    string
	NATS       NATS
	Stream     string
	Prefix     string
	Replicas   int
	Retention  time.Duration
	Backlog    int64 // bytes
	Cluster    bool  // several workers share the watchlists
	HTTP       HTTP
	FastMoss   FastMoss
	Alert      Alert
	OTLP       string // URL of a collector for traces; empty: off
	Log        Log
}

// NATS says where the bus is. Without URLs it is embedded and listens on
// Listen; an empty Listen keeps it in the process.
type NATS struct {
	URLs                   []string
	Creds, NKey            string // paths
	TLSCA, TLSCert, TLSKey string // paths
	Listen                 string
}

// Embedded says whether the bus is part of this process.
func (n NATS) Embedded() bool { return len(n.URLs) == 0 }

// HTTP says where page, API, health and metrics are served, and to whom. An empty
// Listen serves nothing. With a token, API and metrics ask for it; Hosts are
// names under which a listener on loopback may be addressed besides its own.
type HTTP struct {
	Listen    string
	Token     Secret
	TokenFile string
	Hosts     []string
}

// FastMoss says how the source is called. Rate is in calls per second for the
// token; Concurrency counts readings.
type FastMoss struct {
	URL         string
	Token       Secret
	TokenFile   string
	Rate        float64
	Concurrency int
	Timeout     time.Duration
}

// Alert says where alerts go. File is the path of an alert configuration, empty
// for none; then the others name one target, in the notation of that file: the
// secret itself, `env:NAME` or `file:PATH`.
type Alert struct {
	File          string
	SlackWebhook  Secret
	SlackToken    Secret
	SlackChannel  string
	WebhookURL    Secret
	WebhookSecret Secret
	ServiceURL    Secret
	AllowPrivate  bool
}

// Log says what is logged and how. An empty Format is text on a terminal and
// JSON elsewhere.
type Log struct {
	Level  slog.Level
	Format string
}

// A Secret prints as [redacted], however it is printed. Reveal returns it.
type Secret struct{ value string }

// Reveal returns the secret itself, for the one place that sends it.
func (s Secret) Reveal() string { return s.value }

// NewSecret keeps value from being printed.
func NewSecret(value string) Secret { return Secret{value} }

// Set says whether there is a secret at all.
func (s Secret) Set() bool { return s.value != "" }

// String hides the secret.
func (s Secret) String() string { return "[redacted]" }

// Format hides the secret from the verbs that do not ask for a String.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// MarshalText hides the secret from encoders such as JSON's.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return "[redacted]" }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// raw is the environment as it is: strings only, because envconfig stops at
// the first value that it cannot convert, and a person wants all mistakes.
type raw struct {
	Watchlists          string `envconfig:"WATCHLISTS" default:"watchlists.yaml"`
	DataDir             string `envconfig:"DATA_DIR" default:"data"`
	NATSURL             string `envconfig:"NATS_URL"`
	NATSCreds           string `envconfig:"NATS_CREDS"`
	NATSNKey            string `envconfig:"NATS_NKEY"`
	NATSTLSCA           string `envconfig:"NATS_TLS_CA"`
	NATSTLSCert         string `envconfig:"NATS_TLS_CERT"`
	NATSTLSKey          string `envconfig:"NATS_TLS_KEY"`
	NATSListen          string `envconfig:"NATS_LISTEN" default:"127.0.0.1:4222"`
	Stream              string `envconfig:"STREAM" default:"RANKWATCH"`
	SubjectPrefix       string `envconfig:"SUBJECT_PREFIX" default:"rankwatch"`
	Replicas            string `envconfig:"REPLICAS" default:"1"`
	Retention           string `envconfig:"RETENTION" default:"2160h"`
	Backlog             string `envconfig:"BACKLOG" default:"1GiB"`
	HTTPListen          string `envconfig:"HTTP_LISTEN" default:"127.0.0.1:8080"`
	HTTPToken           string `envconfig:"HTTP_TOKEN"`
	HTTPTokenFile       string `envconfig:"HTTP_TOKEN_FILE"`
	HTTPHosts           string `envconfig:"HTTP_HOSTS"`
	FastMossURL         string `envconfig:"FASTMOSS_URL" default:"https://openapi.fastmoss.com"`
	FastMossToken       string `envconfig:"FASTMOSS_TOKEN"`
	FastMossTokenFile   string `envconfig:"FASTMOSS_TOKEN_FILE"`
	FastMossRate        string `envconfig:"FASTMOSS_RATE" default:"2"`
	FastMossConcurrency string `envconfig:"FASTMOSS_CONCURRENCY" default:"4"`
	FastMossTimeout     string `envconfig:"FASTMOSS_TIMEOUT" default:"20s"`
	Cluster             string `envconfig:"CLUSTER" default:"false"`
	Alerts              string `envconfig:"ALERTS"`
	AlertSlackWebhook   string `envconfig:"ALERT_SLACK_WEBHOOK"`
	AlertSlackToken     string `envconfig:"ALERT_SLACK_TOKEN"`
	AlertSlackChannel   string `envconfig:"ALERT_SLACK_CHANNEL"`
	AlertWebhookURL     string `envconfig:"ALERT_WEBHOOK_URL"`
	AlertWebhookSecret  string `envconfig:"ALERT_WEBHOOK_SECRET"`
	AlertServiceURL     string `envconfig:"ALERT_SERVICE_URL"`
	AlertAllowPrivate   string `envconfig:"ALERT_ALLOW_PRIVATE" default:"false"`
	LogLevel            string `envconfig:"LOG_LEVEL" default:"info"`
	LogFormat           string `envconfig:"LOG_FORMAT"`
	OTLPEndpoint        string `envconfig:"OTLP_ENDPOINT"`
}

const prefix = "RANKWATCH"

// An Error holds every mistake in the settings.
type Error struct{ Problems []Problem }

// A Problem is one mistake: what is wrong with the variable and what is
// allowed.
type Problem struct{ Variable, Text string }

// Error lists the mistakes, one a line.
func (e *Error) Error() string {
	var b strings.Builder
	noun := "mistakes"
	if len(e.Problems) == 1 {
		noun = "mistake"
	}
	fmt.Fprintf(&b, "%d %s in the settings (environment):", len(e.Problems), noun)
	for _, p := range e.Problems {
		fmt.Fprintf(&b, "\n  %s: %s", p.Variable, p.Text)
	}
	return b.String()
}

// Load reads the settings. With a mistake in them it returns an *Error and
// what could be read. A missing token is no mistake here: see LoadWithToken.
func Load() (Settings, error) {
	s, p, err := load()
	if err != nil {
		return s, err
	}
	return s, p.err()
}

// LoadWithToken is Load for what calls the source: without a token it counts
// that among the mistakes.
func LoadWithToken() (Settings, error) {
	s, p, err := load()
	if err != nil {
		return s, err
	}
	if !s.FastMoss.Token.Set() && s.FastMoss.TokenFile == "" {
		p.add("FASTMOSS_TOKEN", "no token: set it, or RANKWATCH_FASTMOSS_TOKEN_FILE to the path of a file that holds it (`rankwatch demo` needs none)")
	}
	return s, p.err()
}

func load() (Settings, problems, error) {
	r, err := read()
	if err != nil {
		return Settings{}, problems{}, err
	}
	var p problems
	s := p.convert(r)
	return s, p, nil
}

// LoadListeners reads where a process listens that makes up everything else, and
// who may look at its page: the rest of the settings is empty, whatever mistakes
// there are in it. What the environment does not name is asked of free, which
// gets the default.
func LoadListeners(free func(address string) string) (Settings, error) {
	r, err := read()
	if err != nil {
		return Settings{}, err
	}
	for variable, address := range map[string]*string{"HTTP_LISTEN": &r.HTTPListen, "NATS_LISTEN": &r.NATSListen} {
		if strings.TrimSpace(os.Getenv(prefix+"_"+variable)) == "" {
			*address = free(*address)
		}
	}
	var p problems
	s := Settings{HTTP: p.http(r), NATS: NATS{Listen: p.natsListen(r)}}
	return s, p.err()
}

func read() (raw, error) {
	var r raw
	if err := envconfig.Process(prefix, &r); err != nil {
		return r, fmt.Errorf("read the environment: %w", err)
	}
	fillEmpty(&r)
	return r, nil
}

// Unknown returns the names of variables that look like settings and are not:
// most often a misspelling, which would otherwise be ignored in silence. Those
// that Kubernetes sets for a service named rankwatch are left out.
func Unknown(environ []string) []string {
	known := map[string]bool{}
	t := reflect.TypeFor[raw]()
	for i := range t.NumField() {
		known[prefix+"_"+t.Field(i).Tag.Get("envconfig")] = true
	}
	var names []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		rest, ours := strings.CutPrefix(name, prefix+"_")
		if ours && !known[name] && !strings.HasPrefix(rest, "SERVICE_") && !strings.HasPrefix(rest, "PORT") {
			names = append(names, name)
		}
	}
	return names
}

// fillEmpty gives variables that are set to nothing their default, which is
// what an empty line in a compose file means.
func fillEmpty(r *raw) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if strings.TrimSpace(v.Field(i).String()) == "" {
			v.Field(i).SetString(v.Type().Field(i).Tag.Get("default"))
		}
	}
}
