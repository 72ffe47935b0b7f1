// Package trace exports traces to a collector, over HTTP by OTLP.
//
// A collector that is slow or away costs nothing but its spans: they wait in a
// bounded queue, what does not fit is dropped, and the end of the process waits
// for it no longer than two seconds.
//
// What the OTEL_ variables say of headers, certificates, sampling, batches and
// resources holds; the endpoint is rankwatch's own setting.
package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// flushTime is what the end of the process may wait for the collector.
	flushTime = 2 * time.Second
	// tracesPath is where collectors take traces, below their base URL.
	tracesPath = "/v1/traces"
)

// Config says where traces go and of what they are. Without an Endpoint there are
// none. Environ are the process's
// variables: secrets for the collector are among them, which errors might repeat.
type Config struct {
	Endpoint string
	Version  string
	Environ  []string
	Logger   *slog.Logger
}

// An Exporter sends spans on in the background until Close.
type Exporter struct {
	provider *sdktrace.TracerProvider
	client   *otlptrace.Exporter
	errors   *errorLog
}

// Open starts an exporter. It does not ask whether the collector is there. What
// the OpenTelemetry libraries have to say goes to the log, for the whole process.
func Open(ctx context.Context, c Config) (*Exporter, error) {
	if c.Endpoint == "" {
		return &Exporter{}, nil
	}
	e := &Exporter{errors: &errorLog{log: c.Logger, secrets: secrets(c.Environ)}}
	otel.SetErrorHandler(e.errors)
	otel.SetLogger(logr.FromSlogHandler(libraryLog{e.errors}))
	endpoint, err := tracesURL(c.Endpoint)
	if err != nil {
		return nil, err
	}
	res, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "rankwatch"), attribute.String("service.version", c.Version)),
		resource.WithFromEnv())
	if err != nil {
		// It is usable without what could not be read, and the error may repeat that.
		e.errors.Handle(errors.New("OTEL_RESOURCE_ATTRIBUTES are not all understood"))
	}
	e.client, err = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("export traces: %w", err)
	}
	e.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(e.client), sdktrace.WithResource(res))
	return e, nil
}

// tracesURL is where the collector with that base URL takes traces.
func tracesURL(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", errors.New("export traces: the endpoint is not a URL")
	}
	if !strings.HasSuffix(path.Clean(u.Path), tracesPath) {
		u = u.JoinPath(tracesPath)
	}
	return u.String(), nil
}

// Tracer makes the spans that are exported. It is nil if none are.
func (e *Exporter) Tracer() trace.Tracer {
	if e.provider == nil {
		return nil
	}
	return e.provider.Tracer("github.com/rankwatch/rankwatch")
}

// Close sends what still waits, for a bounded time, and gives up the rest.
func (e *Exporter) Close(ctx context.Context) {
	if e.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	err := e.provider.Shutdown(ctx)
	// An export under way would outlive the provider by its own time-out.
	err = errors.Join(err, ignoreDone(e.client.Shutdown(ctx)))
	if err != nil {
		e.errors.Handle(fmt.Errorf("not all traces were exported before the end: %w", err))
	}
}

// ignoreDone leaves out what only says again that the time is up.
func ignoreDone(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
