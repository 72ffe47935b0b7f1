package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-json-experiment/json"

	"github.com/rankwatch/rankwatch/publisher/history"
)

// ProblemType is the media type of every error.
const ProblemType = "application/problem+json"

// A Fault is what an answer could not be given for, as the client is told.
type Fault struct {
	Status int
	Detail string
	Retry  time.Duration // for Retry-After; 0 for none
}

// Error is the detail.
func (f *Fault) Error() string { return f.Detail }

func notFound(detail string) error { return &Fault{Status: http.StatusNotFound, Detail: detail} }

func badRequest(detail string) error { return &Fault{Status: http.StatusBadRequest, Detail: detail} }

// busRetry is when it is worth asking again for what needs the stream.
const busRetry = 5 * time.Second

// FaultOf says what an error means to a client. Nothing of an error that is not
// meant for clients gets into it.
func FaultOf(err error) *Fault {
	var f *Fault
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, history.ErrNoStream):
		return &Fault{Status: http.StatusServiceUnavailable, Detail: "the stream does not exist yet", Retry: busRetry}
	case errors.Is(err, history.ErrGone):
		return &Fault{Status: http.StatusServiceUnavailable, Detail: "the NATS server does not answer", Retry: busRetry}
	case noServer(err):
		return &Fault{Status: http.StatusServiceUnavailable, Detail: "too few of the NATS servers are there", Retry: busRetry}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Fault{Status: http.StatusServiceUnavailable, Detail: "the answer took too long", Retry: busRetry}
	}
	return &Fault{Status: http.StatusInternalServerError, Detail: "the server could not answer; its log says why"}
}

// noServer says that NATS itself could not answer for now, as without a leader.
func noServer(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code == http.StatusServiceUnavailable
}

// Write answers with the fault.
func (f *Fault) Write(w http.ResponseWriter) {
	body, err := json.Marshal(Problem{Type: "about:blank", Title: http.StatusText(f.Status), Status: f.Status, Detail: f.Detail})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Del("ETag")
	h.Set("Content-Type", ProblemType)
	h.Set("Cache-Control", "no-store")
	if f.Retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((f.Retry+time.Second-1)/time.Second)))
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write(body) // a client that is gone is told nothing
}
