package trace

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestEndpointIsTheBaseOfTheTracesPath(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"http://collector:4318":            "http://collector:4318/v1/traces",
		"http://collector:4318/":           "http://collector:4318/v1/traces",
		"https://c.example.com/otlp":       "https://c.example.com/otlp/v1/traces",
		"https://c.example.com/otlp/":      "https://c.example.com/otlp/v1/traces",
		"http://collector:4318/v1/traces":  "http://collector:4318/v1/traces",
		"http://collector:4318/v1/traces/": "http://collector:4318/v1/traces/",
		"http://[::1]:4318":                "http://[::1]:4318/v1/traces",
	} {
		if got, err := tracesURL(base); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", base, got, err, want)
		}
	}
}

func TestWithoutAnEndpointThereIsNoTracer(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if tracer := e.Tracer(); tracer != nil {
		t.Errorf("tracer is %v", tracer)
	}
	e.Close(t.Context())
}

// Not parallel: it looks for goroutines that stay.
func TestCloseDoesNotWaitForACollectorThatHangs(t *testing.T) {
	before := goleak.IgnoreCurrent()
	asked := make(chan struct{}, 1)
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(hang)
	var out bytes.Buffer
	e, err := Open(t.Context(), Config{Endpoint: s.URL, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	_, span := e.Tracer().Start(t.Context(), "reading")
	span.End()
	done := make(chan struct{})
	began := time.Now()
	go func() { defer close(done); e.Close(t.Context()) }()
	<-asked
	<-done
	// The exporter's own patience is ten seconds for a try, and a minute in all.
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %s", took)
	}
	if err := goleak.Find(before, goleak.IgnoreTopFunction("net/http.(*Server).Serve"), goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("net/http/httptest.(*Server).goServe.func1"), goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "traces not exported") {
		t.Errorf("it does not say that spans are lost: %s", out.String())
	}
}

func TestErrorsAreSaidNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := &errorLog{log: slog.New(slog.NewTextHandler(&out, nil))}
		for range 61 {
			l.Handle(errors.New("away"))
			time.Sleep(sayEvery / 20)
		}
		if n := strings.Count(out.String(), "err=away"); n != 4 {
			t.Errorf("said %d times in three periods and a moment:\n%s", n, out.String())
		}
		if n := strings.Count(out.String(), "unsaid=19"); n != 3 {
			t.Errorf("the unsaid ones are not counted:\n%s", out.String())
		}
	})
}

func TestSecretsAreNotLogged(t *testing.T) {
	t.Parallel()
	environ := []string{
		"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20s3cret-one, x-key = s3cret%2Btwo",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS=s3cret-three,k=%zzs3cret-four",
		"OTHER=word",
	}
	for _, text := range []string{
		"body: Bearer s3cret-one", "s3cret-one", "s3cret+two", "s3cret%2Btwo", "s3cret-three", `invalid URL escape "%zzs3cret-four"`,
		strings.Repeat("x", maxSaid-3) + "s3cret-one",
	} {
		var out bytes.Buffer
		l := &errorLog{log: slog.New(slog.NewTextHandler(&out, nil)), secrets: secrets(environ)}
		l.Handle(errors.New("word " + text))
		if strings.Contains(out.String(), "s3c") || !strings.Contains(out.String(), "word") {
			t.Errorf("%s is logged as %s", text, out.String())
		}
	}
}

func TestOfALibraryOnlyTheConstantTextIsLogged(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := libraryLog{&errorLog{log: slog.New(slog.NewTextHandler(&out, nil))}}
	log := slog.New(h).With("input", "s3cret").WithGroup("g")
	log.Warn("nobody asked")
	log.Error("parse headers", "input", "s3cret")
	if text := out.String(); strings.Contains(text, "s3cret") || strings.Contains(text, "nobody") || !strings.Contains(text, "parse headers") {
		t.Errorf("logged: %s", text)
	}
	if h.Enabled(context.Background(), slog.LevelWarn) {
		t.Error("warnings are enabled")
	}
}
