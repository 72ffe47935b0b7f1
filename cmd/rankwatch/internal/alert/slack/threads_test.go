package slack

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/slack/slacktest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/words"
	"github.com/rankwatch/rankwatch/publisher/event"
)

// threads remember in memory.
type threads struct {
	mu   sync.Mutex
	ts   map[string]string
	fail error
}

func (t *threads) Get(_ context.Context, key string) (string, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ts, ok := t.ts[key]
	return ts, ok, nil
}

func (t *threads) Put(_ context.Context, key, ts string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil {
		return t.fail
	}
	t.ts[key] = ts
	return nil
}

func TestABoardsMessagesOfAPeriodAreAThread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := slacktest.NewHandler(slacktest.Config{})
		kept := &threads{ts: map[string]string{}}
		april := many("us-beauty", 2)
		april.Reading.Board.Period = &event.Period{Type: "month", Value: "2026-04"}
		for _, m := range []*digest.Message{
			only(many("us-beauty", 1)), only(many("gb-home", 1)), only(many("us-beauty", 2)), only(april), only(many("us-beauty", 1), many("us-beauty", 1)),
			only(many("us-beauty", 1), many("gb-home", 1)), notices(1), words.Sample(now),
		} {
			// Each by a process of its own: the thread outlives them.
			if err := botTo(t, fake, kept).Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			time.Sleep(Every)
		}
		got := fake.Accepted()
		first := got[0].TS
		for i, want := range []string{"", "", first, "", first, "", "", ""} {
			if got[i].ThreadTS != want {
				t.Errorf("message %d is in thread %q, want %q", i, got[i].ThreadTS, want)
			}
		}
		if len(kept.ts) != 3 {
			t.Errorf("%v", kept.ts)
		}
	})
}

func TestADeletedParentBeginsANewThread(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"", "thread_not_found", "message_not_found"} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fake := slacktest.NewHandler(slacktest.Config{Unthreaded: word})
				s := botTo(t, fake, &threads{ts: map[string]string{}})
				send := func() {
					t.Helper()
					if err := s.Send(t.Context(), only(many("us-beauty", 1))); err != nil {
						t.Fatal(err)
					}
				}
				send()
				fake.Delete(fake.Accepted()[0].TS)
				send()
				send()
				got := fake.Accepted()
				if len(got) != 3 || got[1].ThreadTS != "" || got[2].ThreadTS != got[1].TS {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func TestAThreadThatCannotBeRememberedDoesNotRepeatTheMessage(t *testing.T) {
	t.Parallel()
	fake := slacktest.NewHandler(slacktest.Config{})
	s := botTo(t, fake, &threads{ts: map[string]string{}, fail: errors.New("no bucket")})
	var log strings.Builder
	s.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	if err := s.Send(t.Context(), only(many("us-beauty", 1))); err != nil || len(fake.Accepted()) != 1 || !strings.Contains(log.String(), "no bucket") {
		t.Errorf("%v, %d messages, log %s", err, len(fake.Accepted()), log.String())
	}
}

func TestThreadKeysAreKeysOfJetStream(t *testing.T) {
	t.Parallel()
	m := only(many("us-beauty", 1))
	if got := threadKey("C1", m); got != "slack.C1.us-beauty.month.2026-03" {
		t.Error(got)
	}
	m.Sections[0].Reading.Board.Period = nil
	if got := threadKey("#top sellers", m); got != "slack.=I3RvcCBzZWxsZXJz.us-beauty.none.2026-04" {
		t.Error(got)
	}
}
