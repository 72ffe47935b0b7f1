// The Go consumer keeps one watchlist's board up to date from the stream and
// prints each reading:
//
//	go run ./deploy/consumers/go us-beauty
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher/event"
)

var (
	url     = flag.String("url", nats.DefaultURL, "of the NATS server")
	stream  = flag.String("stream", "RANKWATCH", "name of the stream")
	prefix  = flag.String("prefix", "rankwatch", "subject prefix")
	durable = flag.String("durable", "example-go", "name of the durable consumer; the watchlist is added")
)

func main() {
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: consumer [-url URL] [-stream NAME] [-prefix PREFIX] [-durable NAME] WATCHLIST")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, watchlist string) error {
	nc, err := nats.Connect(*url, nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", *url, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	members, consumer, err := begin(ctx, js, watchlist)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, messages.Stop)
	var open []jetstream.Msg // unacknowledged until their board came
	for {
		msg, err := messages.Next()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := event.Parse(*prefix, msg.Subject(), msg.Data())
		if err != nil {
			// Sending it again would not help. A kind of a later version is fine to skip.
			fmt.Fprintln(os.Stderr, "skipped:", err)
			if err := msg.Term(); err != nil {
				return err
			}
			continue
		}
		reading, err := members.Add(m)
		if gap := (*event.GapError)(nil); errors.As(err, &gap) {
			fmt.Println("  missed something:", gap)
		} else if err != nil {
			return err
		}
		open = append(open, msg)
		switch {
		case m.Change != nil:
			continue // wait for the board
		case m.Status != nil:
			fmt.Printf("%s is %s: %s\n", m.Status.Watchlist, m.Status.Status, m.Status.Reason)
		case reading != nil:
			show(reading, members)
		}
		for _, msg := range open {
			if err := msg.Ack(); err != nil {
				return err
			}
		}
		open = nil
	}
}

// begin gets the watchlist's last board and the durable consumer of what comes
// after it.
func begin(ctx context.Context, js jetstream.JetStream, watchlist string) (*event.Members, jetstream.Consumer, error) {
	s, err := js.Stream(ctx, *stream)
	if err != nil {
		return nil, nil, fmt.Errorf("stream %s: %w", *stream, err)
	}
	last, err := s.GetLastMsgForSubject(ctx, event.Filter(event.Subject{Prefix: *prefix, Watchlist: watchlist, Kind: event.Board}))
	if err != nil {
		return nil, nil, fmt.Errorf("last board of %q: %w", watchlist, err)
	}
	name := *durable + "-" + watchlist
	consumer, err := s.Consumer(ctx, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		consumer, err = s.CreateConsumer(ctx, jetstream.ConsumerConfig{
			Durable: name,
			// Never without a filter: the stream holds the worker's own messages, too.
			FilterSubject: event.Filter(event.Subject{Prefix: *prefix, Watchlist: watchlist}),
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: last.Sequence + 1,
			AckPolicy: jetstream.AckExplicitPolicy,
			// The longest reading has 2001 messages, acknowledged at the end.
			MaxAckPending: 4096,
		})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("consumer %s: %w", name, err)
	}
	members := new(event.Members)
	// An earlier run may not have come so far: then the first board to come is where it begins.
	if last.Sequence <= consumer.CachedInfo().AckFloor.Stream {
		m, err := event.Parse(*prefix, last.Subject, last.Data)
		if err != nil {
			return nil, nil, err
		}
		reading, err := members.Add(m)
		if err != nil {
			return nil, nil, err
		}
		show(reading, members)
	}
	return members, consumer, nil
}

func show(r *event.Reading, members *event.Members) {
	b := r.Board.Board
	fmt.Printf("%s revision %d (%s): %d events, %d members\n", b.Watchlist, b.Revision, b.Outcome, len(r.Changes), members.Len())
	for _, m := range r.Changes {
		fmt.Printf("  %s %q %s → %s\n", m.Subject.Kind, m.Change.Creator.UID, rank(m.Change.Before), rank(m.Change.After))
	}
	type member struct {
		uid string
		event.Place
	}
	var top []member
	for uid, p := range members.All() {
		top = append(top, member{uid, p})
	}
	slices.SortFunc(top, func(a, b member) int { return cmp.Or(a.Rank-b.Rank, strings.Compare(a.uid, b.uid)) })
	for _, m := range top[:min(3, len(top))] {
		fmt.Printf("  %d. %q, index %d\n", m.Rank, m.uid, m.PotentialIndex)
	}
}

func rank(p *event.Place) string {
	if p == nil {
		return "–"
	}
	return fmt.Sprint(p.Rank)
}
