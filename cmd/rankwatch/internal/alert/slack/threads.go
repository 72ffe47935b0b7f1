package slack

import (
	"context"
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
)

// Threads remembers the first message of each thread. Keys are made of letters,
// digits and - _ = / . only. Get returns ok false for a key it does not know.
type Threads interface {
	Get(ctx context.Context, key string) (ts string, ok bool, err error)
	Put(ctx context.Context, key, ts string) error
}

// threadKey names the thread of a message: the channel, the board, the period.
// A board without periods has a thread a month. It is empty for what is not
// about one board in one period.
func threadKey(channel string, m *digest.Message) string {
	if len(m.Sections) == 0 || m.Sample {
		return ""
	}
	key := ""
	for i := range m.Sections {
		r := m.Sections[i].Reading
		b := &r.Board
		kind, value := "none", r.At.UTC().Format("2006-01")
		if b.Period != nil {
			kind, value = b.Period.Type, b.Period.Value
		}
		k := strings.Join([]string{"slack", token(channel), token(b.Watchlist), token(kind), token(value)}, ".")
		if i > 0 && k != key {
			return ""
		}
		key = k
	}
	return key
}

var plainToken = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// token is a part of a key. What does not fit in is encoded, with a mark that
// nothing else has.
func token(s string) string {
	if plainToken.MatchString(s) {
		return s
	}
	return "=" + base64.RawURLEncoding.EncodeToString([]byte(s))
}
