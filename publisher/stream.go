package publisher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/state"
)

// errSubjectOverlap is the server's code for a stream whose subjects another
// stream holds.
const errSubjectOverlap jetstream.ErrorCode = 10065

// errReplicas is its code for replicas without a cluster.
const errReplicas jetstream.ErrorCode = 10074

// errPlacement is its code for a cluster that has too few servers.
const errPlacement jetstream.ErrorCode = 10005

// Unplaced says that a cluster has too few servers for the replicas that were asked
// for. That is no mistake of a configuration: the others may still be starting.
func Unplaced(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == errPlacement
}

// checkVersion refuses servers without atomic batches.
func checkVersion(version string) error {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if err1 != nil || err2 != nil || a > 2 || a == 2 && b >= 12 {
		return nil //nolint:nilerr // what does not look like a version is judged by the stream it makes
	}
	return &ConfigError{What: "the NATS server is version " + version + ", which has no atomic batches", Do: "use nats-server 2.12 or newer, better 2.14"}
}

// setup makes the server fit for publishing, or says with a ConfigError why it
// cannot be. It may be repeated.
func (p *Publisher) setup(ctx context.Context) error {
	if err := checkVersion(p.nc.ConnectedServerVersion()); err != nil {
		return err
	}
	if err := p.checkOutbox(); err != nil {
		return err
	}
	_, err := p.js.AccountInfo(ctx)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return &ConfigError{What: "the NATS server has no JetStream, or not for this account", Do: "start it with -js, or enable JetStream for the account", Err: err}
	}
	if err != nil {
		return p.explain("ask for JetStream", err)
	}
	if err := p.claim(ctx); err != nil {
		return err
	}
	info, err := p.ensureStream(ctx)
	if err != nil {
		return err
	}
	p.stream.Store(info)
	if p.cfg.Shared {
		return p.mark(ctx)
	}
	return nil
}

// explain turns a request that timed out since it was not permitted into a
// ConfigError.
func (p *Publisher) explain(what string, err error) error {
	if denied := p.denied.Load(); denied != nil {
		return &ConfigError{What: "the NATS account may not " + what, Do: "permit it to publish to $JS.API.>, _in.>, _rw.> and $SRV.>, and to subscribe to _INBOX.> and $SRV.>", Err: *denied}
	}
	return fmt.Errorf("publisher: %s: %w", what, err)
}

// checkOutbox refuses an outbox that holds messages for other subjects.
func (p *Publisher) checkOutbox() error {
	rec, known, err := p.outbox.Stream()
	if err != nil {
		return fmt.Errorf("publisher: outbox: %w", err)
	}
	if !known || rec.Name == p.cfg.Stream && rec.Prefix == p.cfg.Prefix {
		return nil
	}
	return &ConfigError{
		What: fmt.Sprintf("the data directory belongs to stream %s with prefix %s, not to stream %s with prefix %s", rec.Name, rec.Prefix, p.cfg.Stream, p.cfg.Prefix),
		Do:   fmt.Sprintf("set RANKWATCH_STREAM=%s and RANKWATCH_SUBJECT_PREFIX=%s again, or RANKWATCH_DATA_DIR to another directory", rec.Name, rec.Prefix),
	}
}

// ensureStream creates the stream, or takes the existing one if it is ours.
func (p *Publisher) ensureStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	if err := p.checkForeign(ctx); err != nil {
		return nil, err
	}
	s, err := p.js.Stream(ctx, p.cfg.Stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		s, err = p.js.CreateStream(ctx, p.wanted(jetstream.StreamConfig{Name: p.cfg.Stream}))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // by a worker that wants it otherwise
			if s, err = p.js.Stream(ctx, p.cfg.Stream); err == nil {
				s, err = p.adoptStream(ctx, s)
			}
		}
	case err == nil:
		s, err = p.adoptStream(ctx, s)
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == errSubjectOverlap {
		return nil, &ConfigError{What: "another stream holds subjects of the prefix " + p.cfg.Prefix, Do: "set RANKWATCH_SUBJECT_PREFIX to a prefix of its own", Err: err}
	}
	var bad *ConfigError
	switch {
	case errors.As(err, &bad):
		return nil, err
	case Unplaced(err):
		return nil, p.explain(fmt.Sprintf("set up stream %s with RANKWATCH_REPLICAS=%d on a cluster with too few servers now", p.cfg.Stream, p.cfg.Replicas), err)
	case err != nil && api != nil && (api.Code == 400 || api.ErrorCode == errReplicas):
		return nil, &ConfigError{What: "the NATS server refuses the stream " + p.cfg.Stream, Do: "see its message; RANKWATCH_STREAM, _RETENTION and _REPLICAS set the stream", Err: err}
	case err != nil:
		return nil, p.explain("set up stream "+p.cfg.Stream, err)
	}
	info := s.CachedInfo()
	return info, checkStream(info.Config, p.wanted(info.Config))
}

// checkForeign looks for other streams on our subjects. One that stores the
// public subjects would take our messages a second time.
func (p *Publisher) checkForeign(ctx context.Context) error {
	for _, subject := range []string{ingestAll(p.cfg.Prefix), internalAll(p.cfg.Prefix), publicAll(p.cfg.Prefix)} {
		names := p.js.StreamNames(ctx, jetstream.WithStreamListSubject(subject))
		for name := range names.Name() {
			if name == p.cfg.Stream {
				continue
			}
			return &ConfigError{
				What: fmt.Sprintf("stream %s already holds subjects under %s", name, subject),
				Do:   fmt.Sprintf("set RANKWATCH_STREAM=%s if that is rankwatch's stream, or RANKWATCH_SUBJECT_PREFIX to a prefix of its own", name),
			}
		}
		if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
			return p.explain("list streams", err)
		}
	}
	return nil
}

// wanted returns c with all that the publisher relies on.
func (p *Publisher) wanted(c jetstream.StreamConfig) jetstream.StreamConfig {
	if c.Description == "" {
		c.Description = "rankwatch: events, boards and statuses under " + p.cfg.Prefix
	}
	c.Subjects = []string{ingestAll(p.cfg.Prefix), internalAll(p.cfg.Prefix)}
	c.Storage = jetstream.FileStorage
	c.Replicas = p.cfg.Replicas
	// Not MaxAge: a server that starts deletes by it whatever is older, also
	// what carries a TTL of "never", and with the last boards the fences. The
	// janitor deletes instead, and whole readings only.
	c.MaxAge = 0
	c.Metadata = maps.Clone(c.Metadata)
	if c.Metadata == nil {
		c.Metadata = make(map[string]string)
	}
	c.Metadata[event.RetentionKey] = p.cfg.Retention.String()
	c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ingestAll(p.cfg.Prefix), Destination: publicAll(p.cfg.Prefix)}
	c.RePublish = &jetstream.RePublish{Source: publicAll(p.cfg.Prefix), Destination: publicAll(p.cfg.Prefix)}
	c.AllowAtomicPublish, c.AllowRollup, c.AllowMsgTTL, c.AllowDirect = true, true, true, true
	return c
}

// adoptStream checks that an existing stream is ours, and brings what may
// change up to date.
func (p *Publisher) adoptStream(ctx context.Context, s jetstream.Stream) (jetstream.Stream, error) {
	have := s.CachedInfo().Config
	want := p.wanted(have)
	mine := slices.Clone(have.Subjects)
	slices.Sort(mine)
	if !slices.Equal(mine, want.Subjects) {
		return nil, &ConfigError{
			What: fmt.Sprintf("stream %s holds the subjects %s, not those of prefix %s", p.cfg.Stream, strings.Join(have.Subjects, ", "), p.cfg.Prefix),
			Do:   "set RANKWATCH_STREAM to a stream of its own, or RANKWATCH_SUBJECT_PREFIX to that stream's prefix",
		}
	}
	var bad string
	switch {
	case have.Mirror != nil || len(have.Sources) > 0:
		bad = "copies another stream"
	case have.Sealed:
		bad = "is sealed"
	case have.NoAck:
		bad = "acknowledges nothing"
	case have.DenyPurge:
		bad = "denies purges"
	case have.Retention != jetstream.LimitsPolicy:
		bad = "has the retention policy " + have.Retention.String()
	case have.Storage != jetstream.FileStorage:
		bad = "is kept in memory"
	case have.MaxMsgs > 0 || have.MaxBytes > 0 || have.MaxMsgsPerSubject > 0:
		bad = "has a limit of messages or bytes, which cuts history anywhere"
	}
	if bad != "" {
		return nil, &ConfigError{What: "stream " + p.cfg.Stream + " " + bad, Do: "change that with `nats stream edit`, or set RANKWATCH_STREAM to another name"}
	}
	if checkStream(have, want) == nil && have.MaxAge == want.MaxAge && have.Replicas == want.Replicas && have.Metadata[event.RetentionKey] == want.Metadata[event.RetentionKey] {
		return s, nil
	}
	p.log.Info("stream updated", "stream", p.cfg.Stream, "retention", p.cfg.Retention, "replicas", want.Replicas)
	s, err := p.js.UpdateStream(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("update: %w", err)
	}
	return s, nil
}

// checkStream holds what the server made of a configuration against what was
// asked: an older server drops what it does not know.
func checkStream(have, want jetstream.StreamConfig) error {
	var missing string
	switch {
	case !have.AllowAtomicPublish:
		missing = "atomic batches"
	case !have.AllowMsgTTL:
		missing = "message TTLs"
	case !have.AllowRollup:
		missing = "rollups"
	case !have.AllowDirect:
		missing = "direct reads"
	case have.SubjectTransform == nil || *have.SubjectTransform != *want.SubjectTransform:
		missing = "the subject transform"
	case have.RePublish == nil || *have.RePublish != *want.RePublish:
		missing = "republishing"
	default:
		return nil
	}
	return &ConfigError{What: "stream " + want.Name + " comes back from the NATS server without " + missing, Do: "use nats-server 2.12 or newer on every server of the cluster"}
}

// identity returns what the outbox should remember of the stream.
func (p *Publisher) identity(info *jetstream.StreamInfo) state.Stream {
	return state.Stream{Name: p.cfg.Stream, Prefix: p.cfg.Prefix, Created: info.Created.UTC()}
}
