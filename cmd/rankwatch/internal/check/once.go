package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/exit"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/worker"
	"github.com/rankwatch/rankwatch/publisher/event"
	"github.com/rankwatch/rankwatch/watcher"
)

// maxPayload is what a NATS server takes unless it is set up otherwise, bytes.
const maxPayload = 1 << 20

// once makes one reading and prints what it would publish.
func once(ctx context.Context, o options, s settings.Settings, lists []watcher.Watchlist, out, errs io.Writer) (err error) {
	list, err := find(o.once, lists)
	if err != nil {
		return exit.AsUsage(err)
	}
	client, err := worker.NewSource(s.FastMoss, worker.NewLogger(errs, s.Log))
	if err != nil {
		return exit.AsUsage(err)
	}
	defer client.Close()
	known, err := lookUp(ctx, s, list.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, known.close()) }()
	if _, err := fmt.Fprintln(errs, known.note); err != nil {
		return err
	}
	p, err := watcher.NewPreview(ctx, watcher.PreviewConfig{
		Watchlist: list, Source: client, Loaded: known.loaded, Departed: known.departed,
		Prefix: s.Prefix, Writer: "check", MaxPayload: maxPayload,
	})
	if err != nil {
		return fmt.Errorf("reading of %s: %w", list.Name, err)
	}
	if err := printMessages(o.output, p.Messages, out); err != nil {
		return err
	}
	return printVerdict(p, errs)
}

func find(name string, lists []watcher.Watchlist) (watcher.Watchlist, error) {
	var names []string
	for _, l := range lists {
		if l.Name == name {
			return l, nil
		}
		names = append(names, l.Name)
	}
	return watcher.Watchlist{}, fmt.Errorf("--once %s: no such watchlist; the file has %s", name, strings.Join(names, ", "))
}

// printMessages writes each message with its subject.
func printMessages(format string, messages []event.Message, out io.Writer) error {
	for _, m := range messages {
		var text bytes.Buffer
		if format == "json" {
			line := struct {
				Subject string          `json:"subject"`
				Message json.RawMessage `json:"message"`
			}{m.Subject, m.Data}
			e := json.NewEncoder(&text)
			e.SetEscapeHTML(false)
			if err := e.Encode(line); err != nil {
				return fmt.Errorf("print %s: %w", m.Subject, err)
			}
		} else {
			text.WriteString(m.Subject + "\n")
			if err := json.Indent(&text, m.Data, "", "  "); err != nil {
				return fmt.Errorf("print %s: %w", m.Subject, err)
			}
			text.WriteString("\n\n")
		}
		if _, err := out.Write(text.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func printVerdict(p *watcher.Preview, errs io.Writer) error {
	outcome := p.Outcome
	if p.Reason != "" {
		outcome += " (" + p.Reason + ")"
	}
	noun := "messages"
	if len(p.Messages) == 1 {
		noun = "message"
	}
	_, err := fmt.Fprintf(errs, "outcome %s: %d %s would be published; nothing was written\n", outcome, len(p.Messages), noun)
	return err
}
