package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// What a consumer's metadata says whose it is.
const (
	configKey = "rankwatch.alert.configuration"
	routeKey  = "rankwatch.alert.route"
)

// maxFilters is how many subject filters a consumer is given; a route that needs
// more gets all watchlists and leaves out itself.
const maxFilters = 128

// Filters are the subjects of the boards and statuses that a match can concern.
// They do not overlap; there is always at least one.
func Filters(prefix string, m *digest.Match) []string {
	var kinds []event.Kind
	statuses := len(m.Kinds) == 0 || slices.Contains(m.Kinds, event.Status)
	if len(m.Kinds) == 0 || slices.ContainsFunc(m.Kinds, func(k event.Kind) bool { return k != event.Status && k != event.Board }) {
		kinds = append(kinds, event.Board)
	}
	if statuses {
		kinds = append(kinds, event.Status)
	}
	if len(kinds) == 0 {
		kinds = []event.Kind{event.Board} // matches nothing, but is a route
	}
	return filters(prefix, m, kinds, statuses)
}

// filters are the subjects of some kinds, in regions and watchlists that a match
// can concern. The kind "" is all of them.
func filters(prefix string, m *digest.Match, kinds []event.Kind, statuses bool) []string {
	regions, lists := sorted(m.Regions), sorted(m.Watchlists)
	if slices.ContainsFunc(lists, func(w string) bool { return !plain(w) }) || len(orAny(regions))*len(orAny(lists))*len(kinds) > maxFilters {
		lists = nil
	}
	if len(orAny(regions))*len(kinds) > maxFilters || slices.ContainsFunc(regions, func(r string) bool { return !plain(r) }) {
		regions = nil
	}
	var out []string
	for _, r := range orAny(regions) {
		for _, w := range orAny(lists) {
			for _, k := range kinds {
				out = append(out, event.Filter(event.Subject{Prefix: prefix, Region: r, Watchlist: w, Kind: k}))
			}
		}
	}
	// What concerns the token concerns every board.
	covered := len(lists) == 0 && (len(regions) == 0 || slices.Contains(regions, event.RegionAll)) || slices.Contains(lists, event.TokenWatchlist)
	if statuses && !covered {
		out = append(out, event.Filter(event.Subject{Prefix: prefix, Region: event.RegionAll, Watchlist: event.TokenWatchlist, Kind: event.Status}))
	}
	return out
}

// plain says that a name is one word of a subject and no pattern.
func plain(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\r\n.*>?[]\\") }

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

func orAny(s []string) []string {
	if len(s) == 0 {
		return []string{""}
	}
	return s
}

func (r *route) durable() string { return "alert-" + r.d.cfg.Name + "-" + r.Name }

// wanted is the consumer as it has to be. Where it begins is the caller's.
func (r *route) wanted() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:        r.durable(),
		Description:    fmt.Sprintf("rankwatch alert: route %s of configuration %s", r.Name, r.d.cfg.Name),
		FilterSubjects: r.filters,
		AckPolicy:      jetstream.AckExplicitPolicy, MaxAckPending: 1, MaxDeliver: -1, AckWait: r.d.cfg.Takeover,
		Metadata: map[string]string{configKey: r.d.cfg.Name, routeKey: r.Name},
	}
}

// ensure finds the route's consumer and brings it up to date, or creates it. One
// that was deleted begins after what the route is known to have delivered.
func (r *route) ensure(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	want := r.wanted()
	have, err := r.d.js.Consumer(wait, r.d.cfg.stream(), want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		if err := r.begin(wait, &want); err != nil {
			return err
		}
		// Another process may do the same: both ask for the same consumer, unless
		// their clocks differ.
		have, err = r.d.js.CreateConsumer(wait, r.d.cfg.stream(), want)
		if errors.Is(err, jetstream.ErrConsumerExists) {
			have, err = r.d.js.Consumer(wait, r.d.cfg.stream(), want.Durable)
		}
	}
	if err != nil {
		return fmt.Errorf("route %s: consumer %s: %w", r.Name, want.Durable, err)
	}
	c := have.CachedInfo().Config
	if err := r.ours(&c); err != nil {
		return err
	}
	want.DeliverPolicy, want.OptStartSeq, want.OptStartTime = c.DeliverPolicy, c.OptStartSeq, c.OptStartTime
	want.Replicas, want.MemoryStorage, want.InactiveThreshold = c.Replicas, c.MemoryStorage, c.InactiveThreshold
	if !same(&c, &want) {
		if have, err = r.d.js.UpdateConsumer(wait, r.d.cfg.stream(), want); err != nil {
			return r.refused(err)
		}
		r.log.Info("consumer updated", "consumer", want.Durable)
	}
	r.consumer = have
	return nil
}

// begin says where a new consumer begins.
func (r *route) begin(ctx context.Context, c *jetstream.ConsumerConfig) error {
	if err := r.recall(ctx); err != nil {
		return err
	}
	from := r.d.cfg.From
	c.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
	if r.known.revision == 0 && !from.At.IsZero() {
		// Not by time: the server would pass over messages of a route with several
		// filters.
		start, err := r.d.cfg.Reader.SequenceSince(ctx, from.At)
		if err != nil {
			return fmt.Errorf("route %s: where %s is: %w", r.Name, from.At.Format(time.RFC3339), err)
		}
		c.OptStartSeq = start
		return nil
	}
	if r.known.revision == 0 {
		if err := r.start(ctx, from.All); err != nil {
			return err
		}
	}
	c.OptStartSeq = r.known.Mark + 1
	return nil
}

// start writes down where a route begins that is new, before its first message:
// should its consumer be removed, the next one begins there too.
func (r *route) start(ctx context.Context, all bool) error {
	first := r.known
	first.At, first.Writer = time.Now().UTC(), r.writer
	if !all {
		s, err := r.d.js.Stream(ctx, r.d.cfg.stream())
		if err != nil {
			return fmt.Errorf("route %s: %w", r.Name, err)
		}
		first.Mark = s.CachedInfo().State.LastSeq
	}
	value, err := json.Marshal(first)
	if err != nil {
		return fmt.Errorf("route %s: marks: %w", r.Name, err)
	}
	if _, err := r.d.marks.Create(ctx, r.key(), value); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("route %s: marks: %w", r.Name, err)
	}
	return r.recall(ctx) // another process may have been first
}

// ours refuses a consumer that serves something else.
func (r *route) ours(c *jetstream.ConsumerConfig) error {
	remove := fmt.Sprintf("rename the route, or remove the consumer with `nats consumer rm %s %s`: what the route has delivered is remembered", r.d.cfg.stream(), c.Durable)
	config, name := c.Metadata[configKey], c.Metadata[routeKey]
	switch {
	case config == "" && name == "":
		return &SetupError{What: fmt.Sprintf("route %s: there is a consumer %s that is none of rankwatch alert's", r.Name, c.Durable), Do: remove}
	case config != r.d.cfg.Name || name != r.Name:
		return &SetupError{What: fmt.Sprintf("route %s: consumer %s belongs to route %s of configuration %s", r.Name, c.Durable, name, config), Do: "rename one of both"}
	case c.AckPolicy != jetstream.AckExplicitPolicy || c.DeliverSubject != "":
		return &SetupError{What: fmt.Sprintf("route %s: consumer %s does not acknowledge explicitly, or pushes", r.Name, c.Durable), Do: remove}
	}
	return nil
}

func same(have, want *jetstream.ConsumerConfig) bool {
	subjects := slices.Clone(have.FilterSubjects)
	if have.FilterSubject != "" {
		subjects = append(subjects, have.FilterSubject)
	}
	return slices.Equal(sorted(subjects), sorted(want.FilterSubjects)) && have.Description == want.Description &&
		have.MaxAckPending == want.MaxAckPending && have.MaxDeliver == want.MaxDeliver && have.AckWait == want.AckWait
}

// refused tells what to do where JetStream does not let a consumer be changed.
func (r *route) refused(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code == 400 {
		return &SetupError{
			What: fmt.Sprintf("route %s: the server does not let consumer %s be changed (%s)", r.Name, r.durable(), api.Description),
			Do:   fmt.Sprintf("remove it with `nats consumer rm %s %s`: what the route has delivered is remembered", r.d.cfg.stream(), r.durable()),
		}
	}
	return fmt.Errorf("route %s: update consumer %s: %w", r.Name, r.durable(), err)
}

// beat is how often a message that is held is said to be in progress.
func (c *Config) beat() time.Duration { return min(c.Takeover/4, time.Second) }
