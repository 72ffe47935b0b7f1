// Package statecopy hands a copy of a live worker's state to whoever backs it
// up, over NATS. The worker holds the file's lock, so only it can copy.
//
// The copy is of one moment and is made on the worker's own disk before the
// first byte leaves: a commit never waits for a client, however slow that is.
package statecopy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"
)

// Subject is where a worker of that stream is asked. It lies under $SRV, so it
// needs no permission that a worker does without, and no stream takes it in.
func Subject(stream string) string { return "$SRV.STATE.rankwatch." + stream }

const (
	defaultIdle = time.Minute
	// maxChunk keeps one answer from holding up others on the connection.
	maxChunk = 256 << 10
	// prefix and suffix make a copy's name one that nobody else gives a file.
	prefix = ".rankwatch-state-"
	suffix = ".tmp"
)

// Source is the state, which state.DB is.
type Source interface {
	// Copy writes the state as of one moment, and stops at w's first error.
	Copy(w io.Writer) error
	// Size is how many bytes that takes, about; negative when there is no telling.
	Size() int64
}

// Config sets a Desk up. All but Idle is required.
type Config struct {
	Source Source
	// Dir takes the copy. What a worker that died left of one there is removed.
	Dir string
	// Reserve is how many bytes a copy must leave free there, by what Free says.
	Reserve int64
	Free    func(dir string) (int64, error)
	// Limit is how many bytes one answer may hold.
	Limit  func() int
	Idle   time.Duration // forgets a copy that nobody asks for; 0 means a minute
	Logger *slog.Logger
}

// A Desk makes one copy at a time and serves it by parts. Close it before the
// Source.
type Desk struct {
	cfg     Config
	copying sync.WaitGroup

	mu     sync.Mutex
	loan   *loan
	closed bool
}

// A loan is one copy. Its fields below are the desk's to guard.
type loan struct {
	id   string
	file *os.File
	path string // empty once the file has no name any more
	stop context.CancelFunc
	idle *time.Timer

	done    bool // the copy is made, or err says why not
	dropped bool // nobody wants it any more
	err     error
	size    int64
	sum     string
}

// New returns a Desk that serves nobody yet.
func New(cfg Config) (*Desk, error) {
	if cfg.Idle == 0 {
		cfg.Idle = defaultIdle
	}
	if err := removeOld(cfg.Dir); err != nil {
		return nil, fmt.Errorf("statecopy: remove old copies: %w", err)
	}
	return &Desk{cfg: cfg}, nil
}

// removeOld removes the copies that are left in dir, and nothing else.
func removeOld(dir string) error {
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if n := e.Name(); e.Type().IsRegular() && strings.HasPrefix(n, prefix) && strings.HasSuffix(n, suffix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, n)))
		}
	}
	return err
}

// ask is a request: op is open, stat, read or close.
type ask struct {
	Op      string `json:"op"`
	Session string `json:"session,omitempty"`
	Offset  int64  `json:"offset,omitempty"`
}

// offer answers open and stat. Size and SHA256 are there once it is ready.
type offer struct {
	Session string `json:"session"`
	Ready   bool   `json:"ready"`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
}

// A Refusal is the worker's no. Nothing was copied.
type Refusal struct {
	Code string // one of the Code constants
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// Codes of a Refusal.
const (
	CodeBad    = "400" // a request that makes no sense
	CodeGone   = "404" // the copy was closed, or left alone for too long
	CodeBusy   = "409" // another copy is under way
	CodeFailed = "500" // the state or the disk failed
	CodeEnding = "503" // the worker is about to end
	CodeNoRoom = "507" // the disk is too full for a copy
)

func refuse(code, format string, args ...any) error {
	return &Refusal{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Handle answers one request. It never waits for a copy.
func (d *Desk) Handle(r micro.Request) {
	data, err := d.answer(r.Data())
	var no *Refusal
	switch {
	case errors.As(err, &no):
		err = r.Error(no.Code, no.Text, nil)
	case err != nil:
		err = r.Error(CodeFailed, err.Error(), nil)
	default:
		err = r.Respond(data)
	}
	if err != nil {
		d.cfg.Logger.Warn("backup request not answered", "err", err)
	}
}

func (d *Desk) answer(request []byte) ([]byte, error) {
	var q ask
	if err := json.Unmarshal(request, &q); err != nil {
		return nil, refuse(CodeBad, "not a request for the state: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, refuse(CodeEnding, "the worker is about to end")
	}
	if q.Op == "open" {
		return d.open()
	}
	l := d.loan
	if l == nil || l.id != q.Session {
		return nil, refuse(CodeGone, "the copy is gone: it was left alone for %s, or the worker was started anew", d.cfg.Idle)
	}
	if l.err != nil {
		d.drop(l)
		return nil, l.err
	}
	l.idle.Reset(d.cfg.Idle)
	switch q.Op {
	case "stat":
		return json.Marshal(l.offer())
	case "read":
		return d.read(l, q.Offset)
	case "close":
		d.drop(l)
		return nil, nil
	}
	return nil, refuse(CodeBad, "%q is no request for the state", q.Op)
}

func (l *loan) offer() offer {
	return offer{Session: l.id, Ready: l.done, Size: l.size, SHA256: l.sum}
}

func (d *Desk) open() ([]byte, error) {
	if d.loan != nil {
		return nil, refuse(CodeBusy, "the worker is busy with another backup")
	}
	size := d.cfg.Source.Size()
	free, err := d.cfg.Free(d.cfg.Dir)
	if err == nil && free-max(size, 0) < d.cfg.Reserve {
		return nil, refuse(CodeNoRoom, "no room for a copy of the state in %s: it takes %d bytes, %d are free and %d have to stay free", d.cfg.Dir, size, free, d.cfg.Reserve)
	}
	f, err := os.CreateTemp(d.cfg.Dir, prefix+"*"+suffix)
	if err != nil {
		return nil, fmt.Errorf("copy the state: %w", err)
	}
	l := &loan{id: rand.Text(), file: f, path: f.Name()}
	// Without a name it is gone with the process, whatever that dies of.
	if os.Remove(l.path) == nil {
		l.path = ""
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.idle = time.AfterFunc(d.cfg.Idle, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.drop(l)
	})
	d.loan = l
	d.copying.Go(func() { d.copy(ctx, l) })
	return json.Marshal(l.offer())
}

func (d *Desk) copy(ctx context.Context, l *loan) {
	sum := sha256.New()
	w := &meter{ctx: ctx, w: io.MultiWriter(l.file, sum)}
	err := d.cfg.Source.Copy(w)
	d.mu.Lock()
	defer d.mu.Unlock()
	l.done, l.size, l.sum = true, w.n, hex.EncodeToString(sum.Sum(nil))
	if err != nil {
		l.err = refuse(CodeFailed, "the state could not be copied: %v", err)
	}
	if l.dropped {
		d.discard(l)
	}
}

// A meter counts, and ends a copy that nobody wants any more.
type meter struct {
	ctx context.Context //nolint:containedctx // an io.Writer is given none
	w   io.Writer
	n   int64
}

func (m *meter) Write(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.w.Write(p)
	m.n += int64(n)
	return n, err
}

// read returns what lies at offset, nothing at the end.
func (d *Desk) read(l *loan, offset int64) ([]byte, error) {
	if !l.done || offset < 0 || offset > l.size {
		return nil, refuse(CodeBad, "the copy has no byte %d to read yet", offset)
	}
	buf := make([]byte, min(int64(maxChunk), int64(d.cfg.Limit()), l.size-offset))
	if _, err := l.file.ReadAt(buf, offset); err != nil {
		return nil, fmt.Errorf("read the copy: %w", err)
	}
	return buf, nil
}

// drop forgets a loan. The caller has the lock.
func (d *Desk) drop(l *loan) {
	if l.dropped {
		return
	}
	l.dropped = true
	l.idle.Stop()
	l.stop()
	if d.loan == l {
		d.loan = nil
	}
	if l.done {
		d.discard(l)
	}
}

// discard gives the file's room back, once nobody writes to it any more.
func (d *Desk) discard(l *loan) {
	err := l.file.Close()
	if l.path != "" {
		err = errors.Join(err, os.Remove(l.path))
	}
	if err != nil {
		d.cfg.Logger.Warn("copy of the state not removed", "err", err)
	}
}

// Close breaks off a copy that is under way and forgets it. A second Close
// does nothing.
func (d *Desk) Close() {
	d.mu.Lock()
	d.closed = true
	if d.loan != nil {
		d.drop(d.loan)
	}
	d.mu.Unlock()
	d.copying.Wait()
}
