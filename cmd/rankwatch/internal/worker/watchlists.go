package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rankwatch/rankwatch/watcher"
)

// ReadWatchlists reads and checks a watchlist file, and returns its content
// too. Its errors name every mistake with its place.
func ReadWatchlists(path string) ([]watcher.Watchlist, []byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("no watchlist file: %w; write one (deploy/watchlists.yaml is an example) or set RANKWATCH_WATCHLISTS to its path", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read watchlist file: %w", err)
	}
	lists, err := watcher.ParseWatchlists(path, data)
	return lists, data, err
}
