package backup

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rankwatch/rankwatch/publisher/snapshot"
	"github.com/rankwatch/rankwatch/state"
)

// A backup file is a tar compressed with zstd. The manifest comes last, so that
// a file without one was cut off.
const (
	formatNow    = 1
	manifestName = "manifest.json"
	stateName    = state.FileName
	streamFolder = "stream" // as `nats stream restore` takes it
	dataName     = streamFolder + "/" + snapshot.DataFile
	metaName     = streamFolder + "/" + snapshot.MetaFile
	maxManifest  = 1 << 20
)

// A manifest says what a backup file holds.
type manifest struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
	Version string    `json:"version"` // of rankwatch
	Stream  string    `json:"stream"`
	Prefix  string    `json:"prefix"`
	// Content is what the copy of the stream holds; nil without one.
	Content *snapshot.Tally `json:"content"`
	Entries []entry         `json:"entries"`
}

type entry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// pack writes the entries that m is to name, which are files in dir, and then m.
func pack(ctx context.Context, w io.Writer, dir string, m manifest) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	p := packing{tar: tar.NewWriter(z), dir: dir, at: m.Created}
	for _, name := range names(m.Content != nil) {
		e, err := p.file(ctx, name)
		if err != nil {
			return errors.Join(err, z.Close())
		}
		m.Entries = append(m.Entries, e)
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = p.header(manifestName, int64(len(data)))
	}
	if err == nil {
		_, err = p.tar.Write(data)
	}
	if err == nil {
		err = p.tar.Close()
	}
	return errors.Join(err, z.Close())
}

// A packing is a tar that is being made of files in dir.
type packing struct {
	tar *tar.Writer
	dir string
	at  time.Time // of every entry
}

func (p *packing) header(name string, size int64) error {
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: p.at})
}

func (p *packing) file(ctx context.Context, name string) (entry, error) {
	f, err := os.Open(filepath.Join(p.dir, filepath.FromSlash(name)))
	if err != nil {
		return entry{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	fi, err := f.Stat()
	if err != nil {
		return entry{}, err
	}
	if err := p.header(name, fi.Size()); err != nil {
		return entry{}, err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(p.tar, sum), &patient{ctx, f}); err != nil {
		return entry{}, err
	}
	return entry{name, fi.Size(), hex.EncodeToString(sum.Sum(nil))}, nil
}

// patient reads until ctx ends.
type patient struct {
	ctx context.Context //nolint:containedctx // an io.Reader is given none
	r   io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

// What can be wrong with a file. None of it was used.
var (
	errNoBackup = errors.New("no backup of rankwatch")
	errCorrupt  = errors.New("the backup is damaged or cut off")
	errNewer    = errors.New("the backup was made by a newer version of rankwatch")
)

// unpack extracts the entries of a backup into dir, without the stream's data
// unless that is wanted, and returns the manifest once everything agrees with
// it. After an error dir may hold some of it.
func unpack(ctx context.Context, r io.Reader, dir string, stream bool) (manifest, error) {
	file := bufio.NewReader(&patient{ctx, r})
	begin, err := file.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return manifest{}, err
	}
	// begin is the reader's own memory, which the decoder's goroutine reads into.
	compressed := len(begin) > 0 && strings.HasPrefix(zstdMagic, string(begin))
	z, err := zstd.NewReader(file, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return manifest{}, err
	}
	defer z.Close()
	plain := &noting{r: z}
	t := tar.NewReader(plain)
	u := unpacking{dir: dir, stream: stream, plain: plain, zstd: compressed}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = u.take(h, t)
		}
		if err != nil {
			return manifest{}, u.explain(ctx, err)
		}
	}
	// What follows the tar's end still belongs to the checksum of the file.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return manifest{}, u.explain(ctx, err)
	}
	return u.manifest, u.verify()
}

// zstdMagic begins every file that zstd makes.
const zstdMagic = "\x28\xb5\x2f\xfd"

// noting keeps the error that reading ended with: tar words its own like it.
type noting struct {
	r   io.Reader
	err error
}

func (n *noting) Read(b []byte) (int, error) {
	k, err := n.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

type unpacking struct {
	dir      string
	stream   bool
	plain    *noting // the tar
	zstd     bool    // the file begins as zstd does
	got      []entry
	foreign  []string
	found    bool // the manifest
	manifest manifest
}

func (u *unpacking) explain(ctx context.Context, err error) error {
	var own *os.PathError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &own), errors.Is(err, errCorrupt):
		return err
	case len(u.got) == 0 && (!u.zstd || u.plain.err == nil):
		return fmt.Errorf("%w: %w", errNoBackup, err)
	}
	return fmt.Errorf("%w: %w", errCorrupt, err)
}

func (u *unpacking) take(h *tar.Header, r io.Reader) (err error) {
	if u.found {
		return fmt.Errorf("%w: %s comes after the manifest", errCorrupt, h.Name)
	}
	if h.Name == manifestName {
		u.found = true
		data, err := io.ReadAll(io.LimitReader(r, maxManifest))
		if err == nil {
			err = json.Unmarshal(data, &u.manifest)
		}
		return err
	}
	to := io.Discard
	if h.Typeflag != tar.TypeReg || !slices.Contains([]string{stateName, dataName, metaName}, h.Name) {
		u.foreign = append(u.foreign, h.Name)
	} else if h.Name == stateName || u.stream {
		f, err := u.create(h.Name)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to = f
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), r)
	u.got = append(u.got, entry{h.Name, n, hex.EncodeToString(sum.Sum(nil))})
	return err
}

func (u *unpacking) create(name string) (*os.File, error) {
	at := filepath.Join(u.dir, filepath.FromSlash(path.Clean(name)))
	if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
		return nil, err
	}
	return os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

// verify holds what came against the manifest.
func (u *unpacking) verify() error {
	m := &u.manifest
	switch {
	case !u.found && len(u.got) == len(u.foreign):
		return errNoBackup
	case !u.found:
		return fmt.Errorf("%w: it has no manifest at its end", errCorrupt)
	case m.Format > formatNow:
		return fmt.Errorf("%w (%s): its format is %d and this version knows up to %d", errNewer, m.Version, m.Format, formatNow)
	case m.Format < 1 || len(u.foreign) > 0:
		return fmt.Errorf("%w: it holds %q", errNoBackup, u.foreign)
	}
	if !slices.Equal(u.got, m.Entries) {
		for i, e := range m.Entries {
			if i >= len(u.got) || u.got[i] != e {
				return fmt.Errorf("%w: %s is not what the manifest says", errCorrupt, e.Name)
			}
		}
		return fmt.Errorf("%w: the manifest does not name all that it holds", errCorrupt)
	}
	if want := names(m.Content != nil); !slices.EqualFunc(m.Entries, want, func(e entry, name string) bool { return e.Name == name }) {
		return fmt.Errorf("%w: it does not hold exactly %q", errCorrupt, want)
	}
	return nil
}

// names are the entries of a backup, in order.
func names(stream bool) []string {
	if stream {
		return []string{stateName, metaName, dataName}
	}
	return []string{stateName}
}
