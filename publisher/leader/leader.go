// Package leader reads what a stream's leader holds. In a cluster any replica answers
// the library where direct reads are allowed, and one that lags does not have yet what
// a consumer has delivered, or what another process has written.
package leader

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Message returns the message of a stream that query asks for, in the terms
// of the server's API, and nil if it is not there. The stream's leader answers,
// never a replica that may lag; the library asks any replica where that is allowed.
func Message(ctx context.Context, nc *nats.Conn, stream string, query map[string]any) (*jetstream.RawStreamMsg, error) {
	req, err := json.Marshal(query)
	if err != nil {
		return nil, fmt.Errorf("read stream: %w", err)
	}
	msg, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, req)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", stream, err)
	}
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Hdrs    []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(msg.Data, &resp); err != nil {
		return nil, fmt.Errorf("read stream %s: %w", stream, err)
	}
	switch {
	case resp.Error != nil && resp.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case resp.Error != nil:
		return nil, fmt.Errorf("read stream %s: %w", stream, resp.Error)
	case resp.Message == nil:
		return nil, fmt.Errorf("read stream %s: an answer without a message", stream)
	}
	m := resp.Message
	s := &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Seq, Data: m.Data, Time: m.Time}
	if len(m.Hdrs) > 0 {
		if s.Header, err = nats.DecodeHeadersMsg(m.Hdrs); err != nil {
			return nil, fmt.Errorf("read stream %s sequence %d: %w", stream, m.Seq, err)
		}
	}
	return s, nil
}

// Key returns the last message of a bucket's key, nil if there is none. held is false
// too where that message only says that the value was deleted.
func Key(ctx context.Context, nc *nats.Conn, bucket, key string) (last *jetstream.RawStreamMsg, held bool, err error) {
	last, err = Message(ctx, nc, "KV_"+bucket, map[string]any{"last_by_subj": "$KV." + bucket + "." + key})
	if err != nil || last == nil {
		return nil, false, err
	}
	return last, last.Header.Get("KV-Operation") == "" && last.Header.Get(jetstream.MarkerReasonHeader) == "", nil
}
