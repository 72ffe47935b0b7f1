package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/rankwatch/rankwatch/publisher/statecopy"
)

// serviceName is what a worker answers to as a NATS micro service.
const serviceName = "rankwatch"

// How long another worker may take to answer: some round trips, and the time
// that a busy machine needs.
const (
	pingWait  = 100 * time.Millisecond
	pingTrips = 5
)

// claim makes this worker known on the server, unless another one that writes
// the same stream answers: then it is a ConfigError. An embedded server is ours
// alone, since its data directory is.
func (p *Publisher) claim(ctx context.Context) error {
	if p.service != nil {
		return nil
	}
	if p.server == nil {
		if err := p.alone(ctx); err != nil {
			return err
		}
	}
	svc, err := micro.AddService(p.nc, micro.Config{
		Name: serviceName, Version: "1.0.0", Description: "rankwatch worker",
		Metadata: map[string]string{
			"stream": p.cfg.Stream, "prefix": p.cfg.Prefix, "writer": p.cfg.Writer, sharedKey: strconv.FormatBool(p.cfg.Shared),
		},
	})
	if err != nil {
		return p.explain("answer as a service", err)
	}
	if p.desk != nil {
		if err := svc.AddEndpoint("state", p.desk, micro.WithEndpointSubject(statecopy.Subject(p.cfg.Stream))); err != nil {
			return errors.Join(p.explain("hand out the state", err), svc.Stop())
		}
	}
	// Two workers that start at once both find nobody the first time, but the
	// later one is seen, or sees, now.
	if p.server == nil {
		if err := p.alone(ctx); err != nil {
			return errors.Join(err, svc.Stop())
		}
	}
	p.service = svc
	return nil
}

// sharedKey names, in a worker's metadata, whether it shares its watchlists.
const sharedKey = "shared"

// alone asks for other workers of this stream. Workers that share their
// watchlists get on with each other, and with nobody else.
func (p *Publisher) alone(ctx context.Context) error {
	subject, err := micro.ControlSubject(micro.PingVerb, serviceName, "")
	if err != nil {
		return fmt.Errorf("publisher: ping: %w", err)
	}
	trip, err := p.nc.RTT()
	if err != nil {
		return fmt.Errorf("publisher: ping: %w", err)
	}
	sub, err := p.nc.SubscribeSync(p.nc.NewInbox())
	if err != nil {
		return fmt.Errorf("publisher: ping: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection is gone then
	if err := p.nc.PublishRequest(subject, sub.Subject, nil); err != nil {
		return fmt.Errorf("publisher: ping: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, pingWait+pingTrips*trip)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(wait)
		if errors.Is(err, nats.ErrNoResponders) || wait.Err() != nil && ctx.Err() == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("publisher: ping: %w", err)
		}
		var pong micro.Ping
		if json.Unmarshal(m.Data, &pong) != nil {
			continue
		}
		md := pong.Metadata
		if p.cfg.Shared && md[sharedKey] == "true" {
			continue
		}
		if md["stream"] == p.cfg.Stream && md["prefix"] == p.cfg.Prefix && md["writer"] != p.cfg.Writer {
			return &ConfigError{
				What: fmt.Sprintf("another rankwatch worker (writer %s) writes stream %s with prefix %s", md["writer"], p.cfg.Stream, p.cfg.Prefix),
				Do:   "stop it first, set RANKWATCH_CLUSTER=true for both, or give this one another RANKWATCH_STREAM and RANKWATCH_SUBJECT_PREFIX",
			}
		}
	}
}

// openDesk prepares to hand out the state.
func (p *Publisher) openDesk() (err error) {
	if p.cfg.State == nil {
		return nil
	}
	p.desk, err = statecopy.New(statecopy.Config{
		Source: p.cfg.State, Dir: p.cfg.StateDir, Reserve: p.cfg.Reserve, Free: freeSpace, Limit: p.MaxPayload, Logger: p.log,
	})
	return err
}
