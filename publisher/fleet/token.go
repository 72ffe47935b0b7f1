package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	tokenKey = "token"
	holdKey  = "hold"
)

// Token is how the API token is, as a worker found it. It says nothing of the
// token itself.
type Token struct {
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	Detail  string    `json:"detail"`
	Since   time.Time `json:"since"`
	NextTry time.Time `json:"next_try"`
	Writer  string    `json:"writer"`
	At      time.Time `json:"at"`
}

// hold is until when the source wants no calls.
type hold struct {
	Until  time.Time `json:"until"`
	Writer string    `json:"writer"`
}

// PutToken tells every worker how the token is. The last one who does counts.
func (f *Files) PutToken(ctx context.Context, t Token) error {
	t.Writer, t.At = f.cfg.Writer, time.Now().UTC()
	return f.put(ctx, tokenKey, t)
}

// PutHold tells every worker until when the source wants no calls.
func (f *Files) PutHold(ctx context.Context, until time.Time) error {
	return f.put(ctx, holdKey, hold{until, f.cfg.Writer})
}

func (f *Files) put(ctx context.Context, key string, value any) error {
	data, err := json.Marshal(value)
	if err == nil {
		_, err = f.bucket().Put(ctx, key, data)
	}
	if err != nil {
		return fmt.Errorf("fleet: tell others of the %s: %w", key, err)
	}
	return nil
}

// WatchToken calls token and until with what is known now, and later with what
// workers tell, this one too. It returns nil when ctx ends.
func (f *Files) WatchToken(ctx context.Context, token func(Token), until func(time.Time)) error {
	last := make(map[string]uint64)
	return f.watch(ctx, []string{tokenKey, holdKey}, func(e jetstream.KeyValueEntry) error {
		if e.Revision() == last[e.Key()] {
			return nil // it was told before the watch began anew
		}
		last[e.Key()] = e.Revision()
		var t Token
		var h hold
		var err error
		switch e.Key() {
		case tokenKey:
			if err = json.Unmarshal(e.Value(), &t); err == nil {
				token(t)
			}
		case holdKey:
			if err = json.Unmarshal(e.Value(), &h); err == nil {
				until(h.Until)
			}
		}
		if err != nil {
			f.cfg.Logger.Warn("fleet: unreadable word on the token", "key", e.Key(), "err", err)
		}
		return nil
	})
}
