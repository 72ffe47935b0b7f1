package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// packed is a backup of a state of n bytes that cannot be compressed.
func packed(t *testing.T, n int) []byte {
	t.Helper()
	dir := t.TempDir()
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256(nil)).Read(data)
	ok(t, os.WriteFile(filepath.Join(dir, stateName), data, 0o600))
	var out bytes.Buffer
	ok(t, pack(t.Context(), &out, dir, manifest{Format: formatNow}))
	return out.Bytes()
}

func unpacks(t *testing.T, file []byte) error {
	t.Helper()
	dir := t.TempDir()
	_, err := unpack(t.Context(), bytes.NewReader(file), dir, true)
	return err
}

// A transfer that was broken off leaves a backup that is cut, not a file of
// somebody else.
func TestABackupIsKnownWhereverItIsCut(t *testing.T) {
	t.Parallel()
	small := packed(t, 300)
	ok(t, unpacks(t, small))
	for n := 1; n < len(small); n++ {
		if err := unpacks(t, small[:n]); !errors.Is(err, errCorrupt) || errors.Is(err, errNoBackup) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(small), err)
		}
	}
	big := packed(t, 1<<20)
	ok(t, unpacks(t, big))
	for n := 3000; n < len(big); n += 99_991 {
		if err := unpacks(t, big[:n]); !errors.Is(err, errCorrupt) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(big), err)
		}
	}
}

func TestWhatNeverWasABackupIsCalledSo(t *testing.T) {
	t.Parallel()
	z, err := zstd.NewWriter(nil)
	ok(t, err)
	for name, file := range map[string][]byte{
		"nothing": nil, "a letter": []byte("t"), "text": []byte("hello, this is text"), "zeros": make([]byte, 5000),
		"text in zstd": z.EncodeAll([]byte("hello, this is text"), nil), "nothing in zstd": z.EncodeAll([]byte{}, nil),
		"zeros in zstd": z.EncodeAll(make([]byte, 5000), nil), "much text in zstd": z.EncodeAll(bytes.Repeat([]byte("hello"), 5000), nil),
	} {
		if err := unpacks(t, file); !errors.Is(err, errNoBackup) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
