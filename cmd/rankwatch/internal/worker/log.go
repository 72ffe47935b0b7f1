package worker

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
)

// NewLogger returns a logger that writes to w as the settings say: text on a
// terminal and JSON elsewhere, unless they choose.
func NewLogger(w io.Writer, s settings.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: s.Level}
	if s.Format == "text" || s.Format == "" && IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

// IsTerminal says whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
