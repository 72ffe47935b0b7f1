package web_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/web/webtest"
)

func TestShutdownEndsListenersAtOnce(t *testing.T) {
	t.Parallel()
	bus := webtest.StartBus(t)
	l, err := web.Listen(t.Context(), settings.HTTP{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() {
		ran <- web.Run(ctx, l, web.Config{Worker: webtest.NewCrew(bus.Conn), Stream: webtest.Stream, Prefix: webtest.Prefix, Logger: slog.New(slog.DiscardHandler)})
	}()
	got, err := http.Get(l.URL() + "api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	lines := bufio.NewReader(got.Body)
	if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, "retry:") {
		t.Fatalf("%q: %v", line, err)
	}
	began := time.Now()
	cancel()
	if rest, err := io.ReadAll(lines); err != nil {
		t.Errorf("the stream was cut, not ended: %v after %q", err, rest)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 1500*time.Millisecond {
		t.Errorf("it took %v, as if it had waited for the listener", d)
	}
}

func TestShutdownLeavesAnswersUnderWayAMoment(t *testing.T) {
	t.Parallel()
	bus := webtest.StartBus(t)
	l, err := web.Listen(t.Context(), settings.HTTP{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	asked, release := make(chan struct{}), make(chan struct{})
	ready := func(ctx context.Context) error {
		close(asked)
		<-release
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran, answered := make(chan error, 1), make(chan int, 1)
	go func() {
		ran <- web.Run(ctx, l, web.Config{
			Worker: webtest.NewCrew(bus.Conn), Stream: webtest.Stream, Prefix: webtest.Prefix, Ready: ready, Logger: slog.New(slog.DiscardHandler),
		})
	}()
	listener, err := http.Get(l.URL() + "api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Body.Close()
	go func() {
		got, err := http.Get(l.URL() + "readyz")
		if err != nil {
			answered <- 0
			return
		}
		got.Body.Close()
		answered <- got.StatusCode
	}()
	<-asked
	cancel()
	if _, err := io.ReadAll(listener.Body); err != nil { // it ends once the server is about to
		t.Error(err)
	}
	close(release)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("status %d, as if nobody waited for it", code)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
