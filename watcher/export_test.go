package watcher

import "context"

// ReadNow makes one reading of a configured watchlist without its schedule.
func (w *Worker) ReadNow(ctx context.Context, name string) {
	w.mu.Lock()
	if w.lists[name] == nil {
		w.mu.Unlock()
		if err := w.start(); err != nil {
			panic(err)
		}
		w.mu.Lock()
	}
	j := &job{feed: w.lists[name].watchlist.Feed(), names: []string{name}}
	w.mu.Unlock()
	w.read(ctx, j)
}
