package recount

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// A Ledger puts messages together to readings, in the order of the stream. It
// holds the events of readings whose board has not come yet, and the ids of
// statuses. It is for one goroutine.
type Ledger struct {
	cfg   LedgerConfig
	lists map[string]*page
}

// A LedgerConfig says where messages come from: under which subject prefix, and
// what of them may have been deleted for its age.
type LedgerConfig struct {
	Prefix string
	// Cut says of a board that events of it, and of what came before, may have
	// been deleted. Nil means that nothing has.
	Cut func(board *Message) bool
	// Kept says that what is not Cut is all there, and Whole that nothing has ever
	// been deleted: where neither is known, what is missing at the beginning is no
	// fault.
	Kept, Whole bool
}

// page is what the ledger knows of one watchlist.
type page struct {
	events   []Event
	last     uint64 // revision of the last board
	boards   int
	statuses map[string]bool // ids
}

// NewLedger makes an empty Ledger.
func NewLedger(cfg LedgerConfig) *Ledger {
	if cfg.Cut == nil {
		cfg.Cut = func(*Message) bool { return false }
	}
	return &Ledger{cfg: cfg, lists: make(map[string]*page)}
}

// Take adds the next message. It returns a reading when the message is the board
// that closes one. A message that is not what its subject says, or that is there
// twice, is a Fault and is left out.
func (l *Ledger) Take(m Message) (*Reading, *Fault) {
	s, err := event.ParseSubject(l.cfg.Prefix, m.Subject)
	if err != nil {
		return nil, &Fault{Watchlist: "?", Sequence: m.Sequence, What: err.Error()}
	}
	p := l.lists[s.Watchlist]
	if p == nil {
		p = &page{statuses: make(map[string]bool)}
		l.lists[s.Watchlist] = p
	}
	switch s.Kind {
	case event.Status:
		return nil, p.status(l.cfg.Prefix, s, m)
	case event.Board:
		r, f := p.board(l.cfg.Prefix, s, m)
		if r != nil {
			r.Cut, r.Kept, r.Whole = l.cfg.Cut(&m), l.cfg.Kept, l.cfg.Whole
		}
		return r, f
	case event.Entered, event.Moved, event.Dropped, event.Index:
		return nil, p.event(l.cfg.Prefix, s, m)
	}
	return nil, &Fault{Watchlist: s.Watchlist, Sequence: m.Sequence, What: fmt.Sprintf("kind %q is not known", s.Kind)}
}

// Open returns the events of a watchlist that no board has named yet.
func (l *Ledger) Open(watchlist string) []Event {
	if p := l.lists[watchlist]; p != nil {
		return p.events
	}
	return nil
}

func decode[T any](s event.Subject, m Message, into *event.Envelope[T]) *Fault {
	if err := json.Unmarshal(m.Data, into); err != nil {
		return &Fault{Watchlist: s.Watchlist, Sequence: m.Sequence, What: fmt.Sprintf("the message cannot be read: %v", err)}
	}
	return nil
}

// frame holds an envelope against the subject it is stored on.
func frame[T any](prefix string, s event.Subject, e *event.Envelope[T]) string {
	for _, f := range [...]struct{ name, got, want string }{
		{"specversion", e.SpecVersion, "1.0"},
		{"source", e.Source, "/" + prefix + "/" + s.Watchlist},
		{"type", e.Type, "rankwatch." + string(s.Kind)},
		{"subject", e.Subject, s.UID},
		{"datacontenttype", e.DataContentType, "application/json"},
		{"dataschema", e.DataSchema, "rankwatch/v1/" + string(s.Kind)},
	} {
		if f.got != f.want {
			return fmt.Sprintf("%s is %q, not %q", f.name, f.got, f.want)
		}
	}
	return ""
}

func (p *page) status(prefix string, s event.Subject, m Message) *Fault {
	var e event.Envelope[event.Condition]
	if f := decode(s, m, &e); f != nil {
		return f
	}
	bad := frame(prefix, s, &e)
	want := s.Watchlist + "/status/" + e.Data.Status + "/" + e.Data.Since
	switch {
	case bad != "":
	case p.statuses[e.ID]:
		bad = "this id is there twice"
	case e.ID != want:
		bad = fmt.Sprintf("the id is not %s", want)
	case e.Data.Watchlist != s.Watchlist || e.Data.Region != s.Region:
		bad = "watchlist or region are not those of the subject " + m.Subject
	}
	p.statuses[e.ID] = true
	if bad != "" {
		return &Fault{Watchlist: s.Watchlist, ID: e.ID, Sequence: m.Sequence, What: bad}
	}
	return nil
}

func (p *page) event(prefix string, s event.Subject, m Message) *Fault {
	e := Event{Raw: m, Kind: s.Kind}
	if f := decode(s, m, &e.Envelope); f != nil {
		return f
	}
	switch bad := frame(prefix, s, &e.Envelope); {
	case bad != "":
		return e.fault("%s", bad)
	case e.Data.Watchlist != s.Watchlist || e.Data.Region != s.Region || e.Data.Creator.UID != s.UID:
		return e.fault("watchlist, region or creator are not those of the subject %s", m.Subject)
	case p.boards > 0 && e.Data.Revision <= p.last:
		return e.fault("it comes after the board of its revision: it is there twice, or out of place")
	}
	p.events = append(p.events, e)
	return nil
}

func (p *page) board(prefix string, s event.Subject, m Message) (*Reading, *Fault) {
	r := &Reading{Raw: m}
	if f := decode(s, m, &r.Envelope); f != nil {
		return nil, f
	}
	switch bad := frame(prefix, s, &r.Envelope); {
	case bad != "":
		return nil, r.fault("%s", bad)
	case r.Data.Watchlist != s.Watchlist || r.Data.Region != s.Region:
		return nil, r.fault("watchlist or region are not those of the subject %s", m.Subject)
	case p.boards > 0 && r.Data.Revision <= p.last:
		return nil, r.fault("revision %d comes after revision %d: it is there twice, or out of place", r.Data.Revision, p.last)
	}
	p.boards, p.last = p.boards+1, r.Data.Revision
	r.Events = slices.DeleteFunc(p.events, func(e Event) bool { return e.Data.Reading != r.Data.Reading })
	r.Unnamed = len(p.events) - len(r.Events)
	p.events = nil
	return r, nil
}

// ReadBoard decodes a board message by itself, without its events.
func ReadBoard(prefix string, m Message) (*Reading, *Fault) {
	s, err := event.ParseSubject(prefix, m.Subject)
	if err != nil {
		return nil, &Fault{Watchlist: "?", Sequence: m.Sequence, What: err.Error()}
	}
	return new(page).board(prefix, s, m)
}
