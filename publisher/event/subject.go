package event

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxUID is the longest uid in bytes. A longer one, or an empty one, is a
// fault of the source.
const MaxUID = 256

const upperHex = "0123456789ABCDEF"

func mustEscape(c byte) bool {
	return c <= 0x20 || c == 0x7F || c == '.' || c == '*' || c == '>' || c == '%'
}

// EscapeUID writes uid so that it is one token of a subject and one segment of
// an id: the bytes up to 0x20, 0x7F and . * > % become %XX.
func EscapeUID(uid string) string {
	n := 0
	for i := range len(uid) {
		if mustEscape(uid[i]) {
			n++
		}
	}
	if n == 0 {
		return uid
	}
	var b strings.Builder
	b.Grow(len(uid) + 2*n)
	for i := range len(uid) {
		c := uid[i]
		if mustEscape(c) {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// UnescapeUID undoes EscapeUID. It fails on a % that two hex digits don't
// follow.
func UnescapeUID(token string) (string, error) {
	if !strings.Contains(token, "%") {
		return token, nil
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			b.WriteByte(token[i])
			continue
		}
		if i+3 > len(token) {
			return "", fmt.Errorf("event: uid %q ends inside an escape", token)
		}
		v, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("event: uid %q: %w", token, err)
		}
		b.WriteByte(byte(v))
		i += 2
	}
	return b.String(), nil
}

// A Subject is a parsed subject. UID is empty for Board and Status.
type Subject struct {
	Prefix, Region, Watchlist string
	Kind                      Kind
	UID                       string
}

// String writes the subject:
// <prefix>.<region>.<watchlist>.<kind>[.<uid>].
func (s Subject) String() string {
	t := s.Prefix + "." + s.Region + "." + s.Watchlist + "." + string(s.Kind)
	if s.UID != "" {
		t += "." + EscapeUID(s.UID)
	}
	return t
}

// ErrSubject means that a subject is not one of rankwatch's.
var ErrSubject = errors.New("event: not a rankwatch subject")

// ParseSubject reads a subject under prefix.
func ParseSubject(prefix, subject string) (Subject, error) {
	rest, ok := strings.CutPrefix(subject, prefix+".")
	if !ok {
		return Subject{}, fmt.Errorf("%w: %q is not under %q", ErrSubject, subject, prefix)
	}
	p := strings.SplitN(rest, ".", 4)
	if len(p) < 3 {
		return Subject{}, fmt.Errorf("%w: %q", ErrSubject, subject)
	}
	s := Subject{Prefix: prefix, Region: p[0], Watchlist: p[1], Kind: Kind(p[2])}
	if len(p) == 4 {
		uid, err := UnescapeUID(p[3])
		if err != nil {
			return Subject{}, err
		}
		s.UID = uid
	}
	return s, nil
}

// Filter builds a subject filter; an empty field matches everything. Without a
// kind it matches all messages; a uid needs one of the four kinds of change, or
// none for all of them.
func Filter(s Subject) string {
	or := func(v string) string {
		if v == "" {
			return "*"
		}
		return v
	}
	f := s.Prefix + "." + or(s.Region) + "." + or(s.Watchlist)
	switch {
	case s == Subject{Prefix: s.Prefix}:
		return s.Prefix + ".>"
	case s == Subject{Prefix: s.Prefix, Region: s.Region}:
		return s.Prefix + "." + s.Region + ".>"
	case s.UID != "":
		return f + "." + or(string(s.Kind)) + "." + EscapeUID(s.UID)
	case s.Kind == "":
		return f + ".>"
	case s.Kind == Board || s.Kind == Status:
		return f + "." + string(s.Kind)
	}
	return f + "." + string(s.Kind) + ".*"
}

// ReadingID names what a revision's ids begin with: `us-beauty/42`, or
// `us-beauty/42~2` in a later lineage. Lineages start at 1, which is not
// written.
func ReadingID(watchlist string, revision uint64, lineage int) string {
	id := watchlist + "/" + strconv.FormatUint(revision, 10)
	if lineage > 1 {
		id += "~" + strconv.Itoa(lineage)
	}
	return id
}

// ParseReadingID reads revision and lineage of an id: 42 and 2 of
// `us-beauty/42~2/moved/123`. It fails for ids of statuses.
func ParseReadingID(id string) (revision uint64, lineage int, ok bool) {
	_, rest, ok := strings.Cut(id, "/")
	if !ok {
		return 0, 0, false
	}
	reading, _, ok := strings.Cut(rest, "/")
	if !ok {
		return 0, 0, false
	}
	number, suffix, later := strings.Cut(reading, "~")
	revision, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	lineage = 1
	if later {
		if lineage, err = strconv.Atoi(suffix); err != nil {
			return 0, 0, false
		}
	}
	return revision, lineage, true
}

// RetentionKey is where the stream's metadata has the age at which the worker
// deletes events and old boards, as a Go duration.
const RetentionKey = "rankwatch.retention"

// Headers of a head message: the revision of the board that it was published
// with, and that board's Digest.
const (
	RevisionHeader = "Rankwatch-Revision"
	DigestHeader   = "Rankwatch-Digest"
)

// TraceParentHeader carries, in the form of W3C Trace Context, the trace of the
// reading that a message came about in. Only workers that export traces send it.
const TraceParentHeader = "traceparent"

// InternalRoot begins the subjects of messages that are stored and not
// republished, and IngestRoot those that the stream takes messages in under. The
// prefix follows.
const (
	InternalRoot = "_rw."
	IngestRoot   = "_in."
)

// SweptSubject is where the worker notes, before it deletes anything, up to
// which sequence of the stream events and old boards go: a Swept.
func SweptSubject(prefix string) string { return InternalRoot + prefix + ".swept" }

// Swept says that events below Sequence may have been deleted for their age, and
// so may boards and statuses below it, except the last ones.
type Swept struct {
	Sequence uint64 `json:"sequence"`
}
