package watcher

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A fileWatch waits for a file's content to become other than it was.
type fileWatch struct {
	path    string
	settle  time.Duration // how long the directory must be quiet
	poll    time.Duration // how often to look without being told
	known   []byte
	changed func([]byte)
}

// WatchFile calls changed with the new content each time the file at path holds
// something other than before, first other than known, which the caller has
// read. It returns nil when ctx ends, never anything else; changed is called
// from the same goroutine, one at a time.
//
// The file may be written in place, replaced by renaming, or swapped through a
// symbolic link, as Kubernetes does; it may be missing for a while, of which
// nothing is said. Where the system can't notify, or does not (network file
// systems, links into other directories), a change is found within half a
// minute.
func WatchFile(ctx context.Context, path string, known []byte, changed func(data []byte)) error {
	w := fileWatch{path: path, settle: 200 * time.Millisecond, poll: 30 * time.Second, known: bytes.Clone(known), changed: changed}
	return w.run(ctx)
}

func (w *fileWatch) run(ctx context.Context) error {
	notifier := w.notifier()
	defer func() { notifier.close() }()
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	settle := time.NewTimer(0) // the file may have changed since known was read
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-notifier.events:
			// Any event in the directory counts: a swapped link changes the file
			// without naming it. What matters is the content.
			settle.Reset(w.settle)
		case <-notifier.errors: //nolint:errcheck // whatever it was
			// Events were lost; look.
			settle.Reset(w.settle)
		case <-settle.C:
			w.look()
		case <-poll.C:
			if notifier.watcher == nil || len(notifier.watcher.WatchList()) == 0 {
				// The directory is new, or came back under the same name.
				notifier.close()
				notifier = w.notifier()
			}
			w.look()
		}
	}
}

func (w *fileWatch) look() {
	data, err := os.ReadFile(w.path)
	if err != nil || bytes.Equal(data, w.known) {
		// A file that can't be read now may be on its way from one place to the
		// other; the caller goes on with what it has.
		return
	}
	w.known = data
	w.changed(data)
}

// A notifier tells of events in the file's directory. Without a watcher its
// channels are nil and the poll alone is left.
type notifier struct {
	watcher *fsnotify.Watcher
	events  <-chan fsnotify.Event
	errors  <-chan error
}

func (w *fileWatch) notifier() notifier {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		return notifier{}
	}
	if err := fs.Add(filepath.Dir(w.path)); err != nil {
		return notifier{watcher: fs}
	}
	return notifier{watcher: fs, events: fs.Events, errors: fs.Errors}
}

func (n notifier) close() {
	if n.watcher != nil {
		// Nothing is written, so there is nothing that could be lost.
		_ = n.watcher.Close()
	}
}
