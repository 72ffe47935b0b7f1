package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// traceOf is the trace that a message carries. Its name has one spelling only.
func traceOf(h nats.Header) string {
	for k, v := range h {
		if strings.EqualFold(k, "traceparent") {
			if k != "traceparent" || len(v) != 1 {
				return fmt.Sprintf("%s: %q", k, v)
			}
			return v[0]
		}
	}
	return ""
}

// A span is one as a collector got it. Attributes are as text.
type span struct {
	trace, id, parent, name string
	kind                    tracepb.Span_SpanKind
	failed                  bool
	attributes              map[string]string
}

func (s span) String() string { return s.name + fmt.Sprint(s.attributes) }

// header is what messages carry that came about in the span.
func (s span) header() string { return "00-" + s.trace + "-" + s.id + "-01" }

// A collection is an OTLP collector over HTTP.
type collection struct {
	url string

	mu       sync.Mutex
	spans    []span
	services map[string]bool // names and versions
	secret   bool            // the API token was in a request
	more     chan struct{}
}

func newCollector(t *testing.T) *collection {
	t.Helper()
	c := &collection{more: make(chan struct{}), services: map[string]bool{}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func (c *collection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var q collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &q)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret = c.secret || strings.Contains(string(body), token)
	for _, rs := range q.ResourceSpans {
		service := ""
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" || a.Key == "service.version" {
				service += a.Key + "=" + a.Value.GetStringValue() + " "
			}
		}
		c.services[service] = true
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans = append(c.spans, spanOf(s))
			}
		}
	}
	close(c.more)
	c.more = make(chan struct{})
}

func spanOf(s *tracepb.Span) span {
	out := span{
		trace: hex.EncodeToString(s.TraceId), id: hex.EncodeToString(s.SpanId), parent: hex.EncodeToString(s.ParentSpanId),
		name: s.Name, kind: s.Kind, failed: s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR, attributes: map[string]string{},
	}
	for _, a := range s.Attributes {
		var text string
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_IntValue:
			text = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_ArrayValue:
			for _, e := range v.ArrayValue.Values {
				text += e.GetStringValue() + " "
			}
		default:
			text = a.Value.GetStringValue()
		}
		out.attributes[strings.TrimPrefix(a.Key, "rankwatch.")] = strings.TrimSpace(text)
	}
	return out
}

// await waits for a span.
func (c *collection) await(t *testing.T, what string, is func(span) bool) span {
	t.Helper()
	timeout := time.After(patience)
	for {
		c.mu.Lock()
		spans, more := c.spans, c.more
		c.mu.Unlock()
		for _, s := range spans {
			if is(s) {
				return s
			}
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no span of %s came", what)
		}
	}
}

// traces are the spans that came so far, by trace.
func (c *collection) traces(t *testing.T) map[string][]span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secret {
		t.Error("the token is in a span")
	}
	all := map[string][]span{}
	for _, s := range c.spans {
		all[s.trace] = append(all[s.trace], s)
	}
	return all
}

// named are the spans of a trace with that name below a parent.
func named(spans []span, name, parent string) []span {
	var out []span
	for _, s := range spans {
		if s.name == name && s.parent == parent {
			out = append(out, s)
		}
	}
	return out
}
