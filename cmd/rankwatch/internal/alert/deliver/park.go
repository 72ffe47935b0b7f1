package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/publisher/history"
)

// ParkedFor is how long a parked record is kept. For so long the same message is
// not parked twice.
const ParkedFor = 30 * 24 * time.Hour

// maxDetail is how many bytes of an error a record keeps.
const maxDetail = 500

// Reasons that are not the target's.
const (
	ReasonTooLong    = "too_long"   // tried for as long as the configuration allows
	ReasonUnreadable = "unreadable" // the stored message is not what it should be
)

// A Record is a message that was given up. It holds no secret.
type Record struct {
	ID            string       `json:"id"`
	Configuration string       `json:"configuration"`
	Route         string       `json:"route"`
	Target        string       `json:"target"`
	Message       string       `json:"message"` // its id
	Reason        string       `json:"reason"`
	Detail        string       `json:"detail"`
	FirstTry      time.Time    `json:"first_try"`
	LastTry       time.Time    `json:"last_try"`
	Attempts      int          `json:"attempts"`
	Items         []ParkedItem `json:"items"`

	sequence uint64 // in the stream of parked records
}

// A ParkedItem names a reading or a status that the message told of. Revision is
// 0 for a status.
type ParkedItem struct {
	ID        string `json:"id"`
	Watchlist string `json:"watchlist"`
	Revision  uint64 `json:"revision"`
	Sequence  uint64 `json:"sequence"`
}

// ParkedStream is the stream of parked records beside a stream, and
// ParkedSubject the subject that they are published on.
func ParkedStream(stream string) string { return stream + "-PARKED" }

// ParkedSubject is where records are published.
func ParkedSubject(prefix string) string { return prefix + "-parked" }

// Parked are the parked records beside a stream.
type Parked struct {
	js      jetstream.JetStream
	stream  jetstream.Stream // nil if there is none
	subject string
}

// OpenParked opens the stream of parked records and creates it if need be.
func OpenParked(ctx context.Context, nc *nats.Conn, r *history.Reader, replicas int) (*Parked, error) {
	p, err := FindParked(ctx, nc, r)
	if err != nil || p.stream != nil {
		return p, err
	}
	wait, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	name := ParkedStream(r.Stream().Config.Name)
	p.stream, err = p.js.CreateStream(wait, jetstream.StreamConfig{
		Name: name, Description: "rankwatch alert: messages that were given up", Subjects: []string{p.subject},
		Storage: jetstream.FileStorage, Replicas: max(replicas, 1), MaxAge: ParkedFor, Duplicates: ParkedFor, AllowDirect: true,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		p.stream, err = p.js.Stream(wait, name)
	}
	if err != nil {
		return nil, fmt.Errorf("alert: stream %s: %w", name, err)
	}
	return p, nil
}

// FindParked opens the stream of parked records. Where there is none, there are
// no records.
func FindParked(ctx context.Context, nc *nats.Conn, r *history.Reader) (*Parked, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("alert: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	p := &Parked{js: js, subject: ParkedSubject(r.Prefix())}
	p.stream, err = js.Stream(wait, ParkedStream(r.Stream().Config.Name))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("alert: stream %s: %w", ParkedStream(r.Stream().Config.Name), err)
	}
	return p, nil
}

// put stores a record of a stream that was created at a time, and names it; false means that it was stored before.
func (p *Parked) put(ctx context.Context, stream time.Time, rec *Record) (stored bool, err error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s", stream.UTC().Format(time.RFC3339Nano), rec.Configuration, rec.Route, rec.Message))
	rec.ID = hex.EncodeToString(sum[:5])
	data, err := json.Marshal(rec)
	if err != nil {
		return false, fmt.Errorf("park %s: %w", rec.Message, err)
	}
	wait, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	m := &nats.Msg{Subject: p.subject, Data: data, Header: nats.Header{"Content-Type": {"application/json"}}}
	ack, err := p.js.PublishMsg(wait, m, jetstream.WithMsgID(hex.EncodeToString(sum[:])))
	if err != nil {
		return false, fmt.Errorf("park %s: %w", rec.Message, err)
	}
	return !ack.Duplicate, nil
}

// List returns the records, oldest first.
func (p *Parked) List(ctx context.Context) ([]Record, error) {
	if p.stream == nil {
		return nil, nil
	}
	var out []Record
	for from := uint64(1); ; {
		wait, cancel := context.WithTimeout(ctx, requestLimit)
		m, err := p.stream.GetMsg(wait, from, jetstream.WithGetMsgSubject(p.subject))
		cancel()
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("parked records: %w", err)
		}
		rec := Record{sequence: m.Sequence}
		if err := json.Unmarshal(m.Data, &rec); err != nil {
			return nil, fmt.Errorf("parked record %d: %w", m.Sequence, err)
		}
		out, from = append(out, rec), m.Sequence+1
	}
}

// Remove forgets a record.
func (p *Parked) Remove(ctx context.Context, rec *Record) error {
	wait, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	if err := p.stream.DeleteMsg(wait, rec.sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("remove parked record %s: %w", rec.ID, err)
	}
	return nil
}

// named are the items of a message, for a record.
func named(m *digest.Message) []ParkedItem {
	var out []ParkedItem
	for i := range m.Sections {
		r := m.Sections[i].Reading
		out = append(out, ParkedItem{ID: r.ID, Watchlist: r.Board.Watchlist, Revision: r.Board.Revision, Sequence: r.Sequence})
	}
	for i := range m.Notices {
		n := &m.Notices[i]
		out = append(out, ParkedItem{ID: n.ID, Watchlist: n.Watchlist, Sequence: n.Sequence})
	}
	return out
}

// Remake fetches what a record tells of again and puts it together as the route
// does now, without cooldowns. It returns the ids of what is not there any more;
// the message is nil if nothing is left of it that the route takes.
func (rec *Record) Remake(ctx context.Context, r *history.Reader, route *digest.Route) (*digest.Message, []string, error) {
	var items []digest.Item
	var expired []string
	for _, it := range rec.Items {
		m, err := r.Get(ctx, it.Sequence)
		var item digest.Item
		if err == nil {
			item, err = Item(ctx, r, m, wants(&route.Match))
		}
		switch {
		case errors.Is(err, history.ErrNotFound), errors.Is(err, ErrExpired), err == nil && item.ID() != it.ID:
			expired = append(expired, it.ID)
		case err != nil:
			return nil, nil, err
		default:
			items = append(items, item)
		}
	}
	m, _ := route.Make(items, nil, zero)
	return m, expired, nil
}

// zero is a time where none matters: there are no cooldowns.
var zero time.Time

// detail is an error for a record: printable and short.
func detail(err error) string {
	s := text.Printable(err.Error())
	if len(s) <= maxDetail {
		return s
	}
	s = s[:maxDetail]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// unreadable is the record of a stored message that no item can be made of.
func unreadable(m *history.Message, prefix string) []ParkedItem {
	it := ParkedItem{ID: m.ID(), Sequence: m.Sequence}
	if s, err := event.ParseSubject(prefix, m.Subject); err == nil {
		it.Watchlist = s.Watchlist
	}
	it.Revision, _ = m.Revision()
	return []ParkedItem{it}
}
