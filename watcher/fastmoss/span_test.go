package fastmoss

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// Each call is a span with what came of it; waits and calls that the gate
// spared are none. The source is told nothing of the trace, and the trace
// nothing of the token.
func TestEveryCallIsASpan(t *testing.T) {
	t.Parallel()
	rec := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec)).Tracer("test")
	var calls atomic.Int64
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.EqualFold(name, "traceparent") || strings.EqualFold(name, "baggage") {
				t.Errorf("the source is told %s", name)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		switch calls.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, `{"message":"no service for Bearer %s"}`, secret)
		case 2:
			io.WriteString(w, listOf(vendorItem))
		default:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"code":30001,"message":"bad token %s"}`, secret)
		}
	}, func(c *Config) { c.Tracer = tracer })
	if _, err := c.Page(t.Context(), Query{}, 3, 100); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one meets the closed gate
		if _, err := c.Page(t.Context(), Query{}, 4, 100); err == nil {
			t.Fatal("no error")
		}
	}
	var got []string
	for _, s := range rec.Ended() {
		line := fmt.Sprint(s.Name(), " ", s.SpanKind(), " ", s.Status().Code == codes.Error)
		for _, a := range s.Attributes() {
			line += " " + string(a.Key) + "=" + a.Value.String()
		}
		got = append(got, line)
		if strings.Contains(line+s.Status().Description+fmt.Sprint(s.Events()), secret) {
			t.Errorf("the token is in a span: %s %s", line, s.Status().Description)
		}
	}
	want := []string{
		"call client true rankwatch.page=3 rankwatch.attempt=1 http.response.status_code=503 rankwatch.outcome=unavailable",
		"call client false rankwatch.page=3 rankwatch.attempt=2 rankwatch.outcome=ok http.response.status_code=200 rankwatch.entries=1",
		"call client true rankwatch.page=4 rankwatch.attempt=1 http.response.status_code=401 rankwatch.outcome=denied",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
