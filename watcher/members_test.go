package watcher

import (
	"errors"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/rankwatch/rankwatch/diff"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher/recount"
)

// A consumer has come some way, and may have missed or been given something
// twice.
type consumer struct {
	members event.Members
	read    int // of the past's messages
}

func received(t *rapid.T, m recount.Message) event.Received {
	r, err := event.Parse("p", m.Subject, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// follow takes all that is new, some of it again and again, with an attempt that was given
// up in between. It fails on any error.
func (c *consumer) follow(t *rapid.T, p *past) {
	for ; c.read < len(p.messages); c.read++ {
		r := received(t, p.messages[c.read])
		c.take(t, r)
		switch rapid.IntRange(0, 5).Draw(t, "delivery") {
		case 0:
			c.take(t, r)
		case 1:
			c.take(t, received(t, p.messages[rapid.IntRange(0, c.read).Draw(t, "again")]))
		case 2:
			if r.Change != nil {
				lost := *r.Change
				lost.Reading += "-given-up"
				c.take(t, event.Received{Subject: r.Subject, ID: r.ID, Time: r.Time, Change: &lost})
			}
		}
	}
}

func (c *consumer) take(t *rapid.T, r event.Received) {
	begun := c.members.Revision() > 0
	reading, err := c.members.Add(r)
	if err != nil {
		t.Fatalf("%s: %v", r.ID, err)
	}
	if reading != nil && begun && reading.Board.Board.Counts != counted(reading.Changes) {
		t.Fatalf("%s: %+v are not the events that the board counts", r.ID, counted(reading.Changes))
	}
}

func counted(changes []event.Received) (n event.Counts) {
	for _, c := range changes {
		switch c.Subject.Kind {
		case event.Entered:
			n.Entered++
		case event.Moved:
			n.Moved++
		case event.Dropped:
			n.Dropped++
		case event.Index:
			n.Index++
		}
	}
	return n
}

func tracked(t *rapid.T, p *past) map[string]event.Place {
	l, err := p.store.Load(p.list.Name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := decodeBoard(l.Board)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]event.Place{}
	for uid, at := range diff.Held(b.Board) {
		out[uid] = *recount.PlaceOf(at)
	}
	return out
}

// A consumer that was there from the start holds after every reading exactly
// what the worker knows to have reported.
func TestMembersAreWhatTheWorkerReported(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c consumer
		genPastEach(t, false, func(p *past) {
			c.follow(t, p)
			if got, want := maps.Collect(c.members.All()), tracked(t, p); !maps.Equal(got, want) {
				t.Fatalf("revision %d: held %v, reported %v", c.members.Revision(), got, want)
			}
		})
	})
}

// One that begins with any board has the same members from then on.
func TestMembersBeginWithAnyBoard(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := genPast(t, false)
		want, c := consumer{}, consumer{read: rapid.IntRange(0, len(p.messages)-1).Draw(t, "from")}
		for received(t, p.messages[c.read]).Board == nil {
			c.read++
		}
		c.follow(t, p)
		want.follow(t, p)
		for uid := range want.members.All() {
			if _, ok := c.members.Place(uid); !ok {
				t.Fatalf("%s is no member", uid)
			}
		}
		if c.members.Len() != want.members.Len() || c.members.Revision() != want.members.Revision() {
			t.Fatalf("%d members at revision %d, want %d at %d", c.members.Len(), c.members.Revision(), want.members.Len(), want.members.Revision())
		}
	})
}

// A message that never came is told at the next board, once, and the members
// are right again.
func TestMembersNoticeAMissingMessage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := genPast(t, false)
		first := 0
		for received(t, p.messages[first]).Board == nil {
			first++
		}
		last := len(p.messages) - 2
		if last <= first {
			return
		}
		lost := rapid.IntRange(first+1, last).Draw(t, "lost")
		var m event.Members
		var gaps []*event.GapError
		for i, msg := range p.messages {
			if i == lost {
				continue
			}
			reading, err := m.Add(received(t, msg))
			var gap *event.GapError
			if errors.As(err, &gap) && reading != nil {
				gaps = append(gaps, gap)
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if len(gaps) != 1 {
			t.Fatalf("without %s: %d gaps", p.messages[lost].Subject, len(gaps))
		}
		want := received(t, p.messages[len(p.messages)-1]).Board.Members()
		for uid := range m.All() {
			if _, ok := want[uid]; !ok {
				t.Fatalf("without %s: %s is no member", p.messages[lost].Subject, uid)
			}
		}
		if len(want) != m.Len() {
			t.Fatalf("without %s: %d members, the board has %d", p.messages[lost].Subject, m.Len(), len(want))
		}
	})
}
