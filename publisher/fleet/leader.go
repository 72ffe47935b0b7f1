package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stored is a message as the stream's leader has it.
type stored struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Hdrs    []byte    `json:"hdrs"`
	Data    []byte    `json:"data"`
	Time    time.Time `json:"time"`
}

// leaderGet asks the stream's leader for a message, nil if there is none: a
// replica may lag.
func leaderGet(ctx context.Context, nc *nats.Conn, timeout time.Duration, stream string, query map[string]any) (*stored, error) {
	req, err := json.Marshal(query)
	if err != nil {
		return nil, fmt.Errorf("fleet: read stream %s: %w", stream, err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, req)
	if err != nil {
		return nil, fmt.Errorf("fleet: read stream %s: %w", stream, err)
	}
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message *stored             `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return nil, fmt.Errorf("fleet: read stream %s: %w", stream, err)
	}
	if resp.Error != nil && resp.Error.ErrorCode != jetstream.JSErrCodeMessageNotFound {
		return nil, fmt.Errorf("fleet: read stream %s: %w", stream, resp.Error)
	}
	return resp.Message, nil
}
