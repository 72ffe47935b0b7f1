// Package progress shows how far a long piece of work is: as a bar on a
// terminal, or as a line now and then elsewhere. It never gets in the way of
// data: where these go to a terminal too, there is no bar.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

const (
	// patience is how long work takes before it is worth a bar.
	patience = time.Second
	redraw   = 100 * time.Millisecond
	between  = 10 * time.Second // of two lines
)

// Config says where to show what.
type Config struct {
	Errs io.Writer // where the bar goes
	Data io.Writer // where the work's output goes; nil if it has none
	What string    // the things that are counted: "messages"
	// Lines prints a line every ten seconds if Errs is no terminal.
	Lines bool
}

// A Bar shows one piece of work. Make it with New and end it with Done.
type Bar struct {
	c          Config
	read, left atomic.Uint64
	stop, done chan struct{}
}

// New begins a piece of work. Nothing is shown during the first second.
func New(c Config) *Bar {
	switch {
	case !terminal(c.Errs):
		return begin(c, c.Lines, (*Bar).lines)
	case terminal(c.Data):
		return begin(c, false, nil)
	}
	return begin(c, true, (*Bar).draw)
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func begin(c Config, shown bool, show func(*Bar)) *Bar {
	b := &Bar{c: c, stop: make(chan struct{}), done: make(chan struct{})}
	if !shown {
		close(b.done)
		return b
	}
	go func() {
		defer close(b.done)
		show(b)
	}()
	return b
}

// Update says how much is done and how much about is left. It costs two stores:
// the clock is looked at elsewhere.
func (b *Bar) Update(read, left uint64) {
	b.read.Store(read)
	b.left.Store(left)
}

// Done ends the work and wipes the bar. It is called once.
func (b *Bar) Done() {
	close(b.stop)
	<-b.done
}

// sleep returns false if the work ended meanwhile.
func (b *Bar) sleep(d time.Duration) bool {
	select {
	case <-b.stop:
		return false
	case <-time.After(d):
		return true
	}
}

func (b *Bar) draw() {
	bar := progressbar.NewOptions64(1, progressbar.OptionSetWriter(b.c.Errs), progressbar.OptionSetWidth(24),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(b.c.What),
		progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(0))
	if !b.sleep(patience) {
		return
	}
	for {
		read, left := b.read.Load(), b.left.Load()
		// The last message is not the end of the work, which is Done.
		bar.ChangeMax64(int64(read + max(left, 1)))
		if err := bar.Set64(int64(read)); err != nil {
			break // a terminal that went away
		}
		if !b.sleep(redraw) {
			break
		}
	}
	_ = bar.Clear()
}

func (b *Bar) lines() {
	for start := time.Now(); b.sleep(between); {
		read, left, spent := b.read.Load(), b.left.Load(), time.Since(start)
		percent := 100 * float64(read) / float64(max(read+left, 1))
		rate := float64(read) / spent.Seconds()
		_, err := fmt.Fprintf(b.c.Errs, "%.0f %%: %s of %s %s, %s a second, %s\n", percent, humanize.Comma(int64(read)), humanize.Comma(int64(read+left)), b.c.What, humanize.Comma(int64(rate)), remaining(read, left, spent))
		if err != nil {
			return
		}
	}
}

// remaining is about how long the rest takes.
func remaining(read, left uint64, spent time.Duration) string {
	if read == 0 {
		return "just begun"
	}
	d := time.Duration(float64(spent) * float64(left) / float64(read))
	return "about " + d.Round(time.Second).String() + " left"
}
