package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rankwatch/rankwatch/publisher"
	"github.com/rankwatch/rankwatch/publisher/leader"
)

const (
	currentKey  = "current"
	contentKeys = "file."
	// keepContents is how many files can still be had; keepHashes is how many are
	// known to be old.
	keepContents = 8
	keepHashes   = 10_000
	// contentPart leaves room for headers in NATS' default payload.
	contentPart = 768 << 10
	shortHash   = 16 // hex digits, of hashes in the history
)

// FilesConfig says where the files are. Conn, Stream and Writer are required.
type FilesConfig struct {
	Conn     *nats.Conn
	Stream   string // of the installation; the bucket is named after it
	Replicas int
	Writer   string        // names this worker
	Timeout  time.Duration // of one request; 0 means 5s
	Logger   *slog.Logger
}

// Files keeps the watchlist files that the fleet has had, in order. The last one
// counts, for every worker.
//
// It is safe for concurrent use.
type Files struct {
	cfg FilesConfig
	js  jetstream.JetStream
	kv  atomic.Pointer[jetstream.KeyValue]
}

// A File is one that is, or was, the fleet's. Order counts from 1.
type File struct {
	Order   uint64
	Hash    string
	Writer  string // the worker that brought it
	At      time.Time
	Content []byte
}

// A Verdict is what became of a file that was offered.
type Verdict int

const (
	// Same is the fleet's file already.
	Same Verdict = iota
	// New is the fleet's file from now on.
	New
	// Old was the fleet's file once, and is not again.
	Old
)

// ErrNoFile means that nobody has brought a file yet.
var ErrNoFile = errors.New("fleet: no watchlist file yet")

// errContent means that a file's content is not what was stored.
var errContent = errors.New("the content is damaged or missing")

// current is the record of the file that counts.
type current struct {
	Order   uint64    `json:"order"`
	Hash    string    `json:"hash"`
	Writer  string    `json:"writer"`
	At      time.Time `json:"at"`
	Parts   int       `json:"parts"`
	History []string  `json:"history"` // short hashes, the oldest first, with its own
}

// Hash names a file's content.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// BucketName is the name of the bucket of an installation's fleet.
func BucketName(stream string) string { return stream + "_FLEET" }

// OpenFiles opens the bucket, and creates it if there is none.
func OpenFiles(ctx context.Context, cfg FilesConfig) (*Files, error) {
	defaults(&cfg.Timeout, &cfg.Logger)
	js, err := jetstream.New(cfg.Conn, jetstream.WithDefaultTimeout(cfg.Timeout))
	if err != nil {
		return nil, fmt.Errorf("fleet: jetstream: %w", err)
	}
	f := &Files{cfg: cfg, js: js}
	if err := f.Setup(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// Setup creates the bucket if there is none, and undoes what somebody changed of it.
// OpenFiles did it; a server may have lost it since.
func (f *Files) Setup(ctx context.Context) error {
	kv, err := f.open(ctx)
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrInvalidBucketName):
		return &publisher.ConfigError{
			What: fmt.Sprintf("the stream name %q cannot name a key-value bucket, which workers that share watchlists need", f.cfg.Stream),
			Do:   "set RANKWATCH_STREAM to letters, digits, - and _", Err: err,
		}
	case errors.As(err, &api) && api.Code == 400 && !publisher.Unplaced(err):
		return &publisher.ConfigError{What: "the NATS server refuses the key-value bucket " + BucketName(f.cfg.Stream) + ", which workers share", Do: "see its message; RANKWATCH_REPLICAS sets how many servers keep it", Err: err}
	case err != nil:
		return fmt.Errorf("fleet: open bucket %s: %w", BucketName(f.cfg.Stream), err)
	}
	f.kv.Store(&kv)
	return nil
}

// open creates the bucket, or takes the one there is, and puts it right only where it
// differs: see Queue.Setup.
func (f *Files) open(ctx context.Context) (jetstream.KeyValue, error) {
	want := jetstream.KeyValueConfig{
		Bucket: BucketName(f.cfg.Stream), Description: "rankwatch: what the workers of stream " + f.cfg.Stream + " share",
		Storage: jetstream.FileStorage, Replicas: max(f.cfg.Replicas, 1), History: 1,
	}
	kv, err := f.js.KeyValue(ctx, want.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = f.js.CreateKeyValue(ctx, want)
		if errors.Is(err, jetstream.ErrBucketExists) { // by a worker that wants other replicas
			kv, err = f.js.KeyValue(ctx, want.Bucket)
		}
	}
	if errors.Is(err, jetstream.ErrBadBucket) { // somebody changed how much a key keeps
		return f.js.UpdateKeyValue(ctx, want)
	}
	if err != nil {
		return nil, err
	}
	s, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	have, same := s.Config(), want
	same.MaxBytes, same.MaxValueSize, same.Metadata = -1, -1, have.Metadata // as a server says it
	if reflect.DeepEqual(have, same) {
		return kv, nil
	}
	return f.js.UpdateKeyValue(ctx, want)
}

// bucket is the bucket.
func (f *Files) bucket() jetstream.KeyValue { return *f.kv.Load() }

// Latest returns order and hash of the file that counts now, 0 if there is none. A
// bucket that was lost counts anew, so that the order alone does not name a file.
func (f *Files) Latest(ctx context.Context) (order uint64, hash string, err error) {
	c, _, err := f.current(ctx)
	if errors.Is(err, ErrNoFile) {
		return 0, "", nil
	}
	return c.Order, c.Hash, err
}

// Current returns the file that counts now; ErrNoFile if there is none.
func (f *Files) Current(ctx context.Context) (File, error) {
	c, _, err := f.current(ctx)
	if err != nil {
		return File{}, err
	}
	return f.load(ctx, c)
}

// current asks the leader: a replica may not know the newest yet.
func (f *Files) current(ctx context.Context) (current, uint64, error) {
	var c current
	data, revision, err := f.get(ctx, currentKey)
	if err != nil {
		return c, 0, err
	}
	if data == nil {
		return c, revision, ErrNoFile
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, 0, fmt.Errorf("fleet: read the record of the watchlist file: %w", err)
	}
	return c, revision, nil
}

// get asks the leader for a key's value and revision; nil if there is none.
func (f *Files) get(ctx context.Context, key string) ([]byte, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	m, held, err := leader.Key(ctx, f.cfg.Conn, BucketName(f.cfg.Stream), key)
	switch {
	case err != nil || m == nil:
		return nil, 0, err
	case !held:
		return nil, m.Sequence, nil
	}
	return m.Data, m.Sequence, nil
}

// Offer has content become the fleet's file, unless that is the fleet's already or
// was it once. It returns the file that counts.
//
// Of two that are offered at once both are taken, in some order.
func (f *Files) Offer(ctx context.Context, content []byte) (File, Verdict, error) {
	hash := Hash(content)
	for {
		c, revision, err := f.current(ctx)
		if err != nil && !errors.Is(err, ErrNoFile) {
			return File{}, Same, err
		}
		if c.Hash == hash {
			file, err := f.load(ctx, c)
			if errors.Is(err, errContent) {
				// Whoever has it can help.
				if _, err = f.store(ctx, hash, content); err == nil {
					file, err = f.load(ctx, c)
				}
			}
			return file, Same, err
		}
		if slices.Contains(c.History, hash[:shortHash]) {
			file, err := f.load(ctx, c)
			return file, Old, err
		}
		// Again for each try: clean spares only what is younger than its record.
		stored, err := f.store(ctx, hash, content)
		if err != nil {
			return File{}, Same, err
		}
		next := current{
			Order: c.Order + 1, Hash: hash, Writer: f.cfg.Writer, At: time.Now().UTC(), Parts: stored,
			History: append(c.History, hash[:shortHash]),
		}
		next.History = next.History[max(0, len(next.History)-keepHashes):]
		data, err := json.Marshal(next)
		if err != nil {
			return File{}, Same, fmt.Errorf("fleet: offer the watchlist file: %w", err)
		}
		revision, err = f.bucket().Update(ctx, currentKey, data, revision)
		if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			continue // somebody was first: is it new still?
		}
		if err != nil {
			return File{}, Same, fmt.Errorf("fleet: offer the watchlist file: %w", err)
		}
		f.clean(ctx, next, revision)
		return File{Order: next.Order, Hash: hash, Writer: next.Writer, At: next.At, Content: content}, New, nil
	}
}

func partKey(hash string, part int) string { return contentKeys + hash + "." + strconv.Itoa(part) }

// store writes the content before any record names it, and returns the number of
// its parts.
func (f *Files) store(ctx context.Context, hash string, content []byte) (int, error) {
	packed := s2.EncodeBetter(nil, content)
	n := 0
	for part := range slices.Chunk(packed, contentPart) {
		if _, err := f.bucket().Put(ctx, partKey(hash, n), part); err != nil {
			return 0, fmt.Errorf("fleet: store the watchlist file: %w", err)
		}
		n++
	}
	return n, nil
}

func (f *Files) load(ctx context.Context, c current) (File, error) {
	var packed []byte
	for n := range c.Parts {
		part, _, err := f.get(ctx, partKey(c.Hash, n))
		if err != nil {
			return File{}, fmt.Errorf("fleet: load watchlist file %s: %w", c.Hash, err)
		}
		packed = append(packed, part...)
	}
	content, err := s2.Decode(nil, packed)
	if err != nil || Hash(content) != c.Hash {
		return File{}, fmt.Errorf("fleet: load watchlist file %s: %w", c.Hash, errContent)
	}
	return File{Order: c.Order, Hash: c.Hash, Writer: c.Writer, At: c.At, Content: content}, nil
}

// clean deletes contents that nobody asks for any more, and that are older than c,
// which is at revision. A younger one may be of an offer that is about to follow c.
// What it leaves only takes room.
func (f *Files) clean(ctx context.Context, c current, revision uint64) {
	old := map[string]bool{}
	for _, h := range c.History[:max(0, len(c.History)-keepContents)] {
		old[h] = true
	}
	prefix := "$KV." + BucketName(f.cfg.Stream) + "." + contentKeys
	s, err := f.js.Stream(ctx, "KV_"+BucketName(f.cfg.Stream))
	var info *jetstream.StreamInfo
	if err == nil {
		// Not the bucket's list of keys: it waits for ever for one that another worker
		// purges meanwhile.
		info, err = s.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	}
	if err != nil {
		f.cfg.Logger.Debug("fleet: old files not deleted", "err", err)
		return
	}
	for subject := range info.State.Subjects {
		hash := strings.TrimPrefix(subject, prefix)
		if len(hash) < shortHash || !old[hash[:shortHash]] {
			continue
		}
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(revision)); err != nil {
			f.cfg.Logger.Debug("fleet: old file not deleted", "subject", subject, "err", err)
		}
	}
}

// A Watch rests after trouble, ever longer.
const watchRetry, watchRetryMax = time.Second, 30 * time.Second

// Watch calls each with the file that counts now, and with every later one, though
// not with those that others follow at once. After the loss of the bucket orders
// begin anew. It returns nil when ctx ends.
func (f *Files) Watch(ctx context.Context, each func(File)) error {
	var last current
	return f.watch(ctx, []string{currentKey}, func(e jetstream.KeyValueEntry) error {
		var c current
		if err := json.Unmarshal(e.Value(), &c); err != nil {
			return fmt.Errorf("fleet: read the record of the watchlist file: %w", err)
		}
		if c.Order == last.Order && c.Hash == last.Hash {
			return nil
		}
		file, err := f.load(ctx, c)
		if err != nil {
			return err
		}
		last = c
		each(file)
		return nil
	})
}

// watch calls each for the values of keys, now and later, until ctx ends. After an
// error it begins anew.
func (f *Files) watch(ctx context.Context, keys []string, each func(jetstream.KeyValueEntry) error) error {
	wait := watchRetry
	for ctx.Err() == nil {
		err := f.watchOnce(ctx, keys, each)
		switch {
		case err == nil || ctx.Err() != nil:
			wait = watchRetry
		default:
			f.cfg.Logger.Warn("fleet: watching again", "keys", keys, "in", wait, "err", err)
		}
		pause(ctx, wait)
		if err != nil {
			wait = min(2*wait, watchRetryMax)
		}
	}
	return nil
}

// relook is how often a watch begins anew without need: what a server that was
// restored holds may be older than what the watch has seen.
const relook = time.Minute

func (f *Files) watchOnce(ctx context.Context, keys []string, each func(jetstream.KeyValueEntry) error) error {
	w, err := f.bucket().WatchFiltered(ctx, slices.Clone(keys), jetstream.IgnoreDeletes()) // it writes into them
	if err != nil {
		return fmt.Errorf("fleet: watch: %w", err)
	}
	defer func() { _ = w.Stop() }() // the connection is gone then
	again := time.NewTimer(relook)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
			return nil
		case e, ok := <-w.Updates():
			if !ok {
				return nil
			}
			if e == nil {
				continue // all that was there has been told
			}
			if err := each(e); err != nil {
				return err
			}
		}
	}
}
