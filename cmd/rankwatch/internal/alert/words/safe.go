package words

import (
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
)

// textCells is how long a text from outside is at most, nameCells a name, and
// clusterRunes one grapheme, since a letter may carry any number of accents.
const (
	textCells    = 300
	nameCells    = 32
	clusterRunes = 16
)

// clean copies a message without its template, with every text in it made safe.
// It leaves out what nobody shows: the rows of boards, and the changes that are
// not in the message.
func (d Dialect) clean(m *digest.Message) *digest.Message {
	bare := *m
	bare.Template = ""
	bare.Sections = make([]digest.Section, len(m.Sections))
	for i, s := range m.Sections {
		r := *s.Reading
		r.Changes = nil
		b := &r.Board
		b.Board, b.Absent, b.Holes, b.Interim = nil, nil, nil, nil
		s.Reading = &r
		bare.Sections[i] = s
	}
	out := d.copied(reflect.ValueOf(bare)).Interface().(digest.Message)
	for i := range out.Sections {
		for k := range out.Sections[i].Shown {
			from, to := &m.Sections[i].Shown[k].Creator, &out.Sections[i].Shown[k].Creator
			to.URL = d.url(from.URL)
			if from.Avatar != nil {
				*to.Avatar = d.url(*from.Avatar)
			}
		}
	}
	return &out
}

// copied goes by type and not by field, so that a field that is added one day
// is safe too.
func (d Dialect) copied(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		out.SetString(d.safe(v.String(), textCells))
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(d.copied(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				out.Index(i).Set(d.copied(v.Index(i)))
			}
		}
	case reflect.Struct:
		out.Set(v)
		if v.Type() == reflect.TypeFor[time.Time]() {
			break
		}
		for i := range v.NumField() {
			out.Field(i).Set(d.copied(v.Field(i)))
		}
	default:
		out.Set(v)
	}
	return out
}

// safe is s on one line of at most so many cells, with nothing in it that
// formats, mentions or links. Times stay as they are.
func (d Dialect) safe(s string, cells int) string {
	if harmless(s) && len(s) <= cells {
		return s
	}
	if _, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return s
	}
	if most := 4*cells + 64; len(s) > most { // finding graphemes is slow, and a text of accents alone has few cells
		s = strings.ToValidUTF8(s[:most], "")
	}
	s = text.Printable(strings.Join(strings.Fields(s), " "))
	return d.escape(cut(strings.Trim(s, "\u200c\u200d "), cells))
}

// harmless tells the plain words that most texts are: all of this costs a
// hundred times more than looking.
func harmless(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '.' && c != '-' && (c != ' ' || i == 0 || i == len(s)-1 || s[i-1] == ' ') {
			return false
		}
	}
	return true
}

// Safe makes a text from outside safe to print in the dialect: one line, cut on
// a grapheme, formatting nothing and mentioning nobody.
func (d Dialect) Safe(s string) string { return d.safe(s, textCells) }

// Chats have no way to escape their signs, only ways to break them that work in
// one client and not in the next. So a text from outside gets signs that look
// alike and mean nothing.
var lookalike = map[rune]rune{
	'*': '∗', '~': '∼', '`': 'ˋ', ':': '꞉', '@': '＠', '|': '¦', '[': '［', ']': '］', '\\': '＼',
}

// escape makes s mean itself.
func (d Dialect) escape(s string) string {
	var b strings.Builder
	rs := []rune(s)
	word := func(i int) bool {
		return i >= 0 && i < len(rs) && (unicode.IsLetter(rs[i]) || unicode.IsDigit(rs[i]))
	}
	for i, r := range rs {
		alike, signs := lookalike[r]
		switch {
		case signs:
			b.WriteRune(alike)
		case r == '_' && !(word(i-1) && word(i+1)): // within a word it is only itself
			b.WriteRune('ˍ')
		default:
			b.WriteRune(r)
		}
	}
	return d.Entities(b.String())
}

// Entities writes the signs of links and mentions as Slack has them, in a text
// that is safe in Plain. Elsewhere they are brackets that mean nothing.
func (d Dialect) Entities(s string) string {
	if d != Mrkdwn {
		return brackets.Replace(s)
	}
	return entities.Replace(s)
}

var (
	entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	brackets = strings.NewReplacer("<", "‹", ">", "›")
	letters  = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">")
)

// unescape undoes Entities.
func (d Dialect) unescape(s string) string {
	if d != Mrkdwn {
		return s
	}
	return letters.Replace(s)
}

// short cuts a safe text.
func (d Dialect) short(cells int, s string) string {
	if 2*len(s) <= cells { // no letter is twice as wide as it is long
		return s
	}
	return d.Entities(cut(d.unescape(s), cells))
}

// cut is at most so many cells of s, with dots where something is left out.
func cut(s string, cells int) string {
	if len(s) <= min(cells/2, clusterRunes) {
		return s
	}
	var b strings.Builder
	long := text.Cells(s) > cells
	if long {
		s = text.Cut(s, cells-1)
	}
	for g := uniseg.NewGraphemes(s); g.Next(); {
		if rs := g.Runes(); len(rs) > clusterRunes {
			b.WriteRune(rs[0])
			continue
		}
		b.WriteString(g.Str())
	}
	if long {
		b.WriteRune('…')
	}
	return b.String()
}

// url is u as a link may have it, empty if it is none.
func (d Dialect) url(u string) string {
	if !strings.HasPrefix(u, "https://") && !strings.HasPrefix(u, "http://") || len(u) > 512 {
		return ""
	}
	for _, r := range u {
		if r <= ' ' || r >= 0x7F || strings.ContainsRune("<>|\"`\\", r) {
			return ""
		}
	}
	if d == Mrkdwn {
		return strings.ReplaceAll(u, "&", "&amp;")
	}
	return u
}

// visible tells whether there is something to see, and to click on.
func visible(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		blank := r == 0x3164 || r == 0xFFA0 || r == 0x115F || r == 0x1160 || r == 0x2800 // fillers count as letters
		return !blank && !unicode.IsSpace(r) && !unicode.Is(unicode.M, r) && !unicode.Is(unicode.Cf, r)
	})
}

// isolated keeps a name that is written from right to left from turning the
// rest of the line around.
func isolated(s string) string {
	rtl := strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Adlam, unicode.Samaritan, unicode.Mandaic)
	})
	if !rtl {
		return s
	}
	return "\u2068" + s + "\u2069"
}
