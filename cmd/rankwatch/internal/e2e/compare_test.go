package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// message is any message of the contract as a consumer decodes it.
type message struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject"`
	Time            string `json:"time"`
	DataContentType string `json:"datacontenttype"`
	DataSchema      string `json:"dataschema"`
	Data            struct {
		Watchlist      string  `json:"watchlist"`
		Region         string  `json:"region"`
		Revision       uint64  `json:"revision"`
		Reading        string  `json:"reading"`
		N              int     `json:"n"`
		Of             int     `json:"of"`
		Period         *period `json:"period"`
		PreviousPeriod *period `json:"previous_period"`
		Creator        creator `json:"creator"`
		Metrics        metrics `json:"metrics"`
		Before         *place  `json:"before"`
		After          *place  `json:"after"`
		Places         *int64  `json:"places"`
		IndexChange    *int64  `json:"index_change"`
		Cause          *cause  `json:"cause"`
		Edge           bool    `json:"edge"`
		History        struct {
			FirstSeen        string `json:"first_seen"`
			PeakRank         int    `json:"peak_rank"`
			RevisionsOnBoard uint64 `json:"revisions_on_board"`
			Reentry          bool   `json:"reentry"`
		} `json:"history"`
		boardData
		statusData
	} `json:"data"`
}

type creator struct {
	UID           string    `json:"uid"`
	UniqueID      *string   `json:"unique_id"`
	Nickname      *string   `json:"nickname"`
	Avatar        *string   `json:"avatar"`
	Region        *string   `json:"region"`
	Category      *category `json:"category"`
	FollowerCount *int64    `json:"follower_count"`
	URL           string    `json:"url"`
}

type metrics struct {
	USDGMV          *float64   `json:"usd_gmv"`
	UnitsSold       *int64     `json:"units_sold"`
	VideoUnitsSold  *int64     `json:"video_units_sold"`
	LiveUnitsSold   *int64     `json:"live_units_sold"`
	AvgPlayCount    *int64     `json:"avg_play_count"`
	VideoCount      *int64     `json:"video_count"`
	EcommerceType   *int64     `json:"ecommerce_type"`
	SalesCategoryL3 []category `json:"sales_category_l3"`
}

type boardData struct {
	PreviousRevision *uint64        `json:"previous_revision"`
	Outcome          string         `json:"outcome"`
	FetchedAt        string         `json:"fetched_at"`
	Total            int            `json:"total"`
	Counts           map[string]int `json:"counts"`
	Rules            map[string]any `json:"rules"`
	Unchanged        int            `json:"unchanged"`
	Writer           string         `json:"writer"`
	EventsDigest     string         `json:"events_digest"`
	PreviousDigest   *string        `json:"previous_digest"`
	Board            []boardRow     `json:"board"`
}

type boardRow struct {
	UID            string `json:"uid"`
	UniqueID       string `json:"unique_id"`
	Nickname       string `json:"nickname"`
	Rank           int    `json:"rank"`
	Position       int    `json:"position"`
	PotentialIndex int64  `json:"potential_index"`
	Member         bool   `json:"member"`
	Edge           bool   `json:"edge"`
}

type statusData struct {
	Status  string  `json:"status"`
	Reason  *string `json:"reason"` // of a board, too
	Detail  string  `json:"detail"`
	Since   string  `json:"since"`
	NextTry *string `json:"next_try"`
}

// keys that must be present, null or not.
var (
	changeKeys = strings.Fields("watchlist region revision reading n of period previous_period creator metrics before after places index_change cause history")
	boardKeys  = strings.Fields("watchlist region revision reading outcome reason period previous_period fetched_at total counts rules unchanged board writer previous_revision")
	statusKeys = strings.Fields("watchlist region status reason detail since next_try")
)

func decode(m sent) (message, error) {
	var out message
	if err := json.Unmarshal(m.data, &out); err != nil {
		return out, fmt.Errorf("%s: %w", m.subject, err)
	}
	var raw struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(m.data, &raw); err != nil {
		return out, err
	}
	keys := changeKeys
	switch out.Type {
	case "rankwatch.board":
		keys = boardKeys
	case "rankwatch.status":
		keys = statusKeys
	}
	for _, k := range keys {
		if _, ok := raw.Data[k]; !ok {
			return out, fmt.Errorf("%s: no key %q", m.subject, k)
		}
	}
	return out, nil
}

// escape is the contract's spelling of a uid in subjects and ids.
func escape(uid string) string {
	var b strings.Builder
	for i := range len(uid) {
		if c := uid[i]; c <= 0x20 || c == 0x7F || strings.IndexByte(".*>%", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// A checker holds a watchlist's messages against what the oracle wants. It
// remembers what must hold from one message to the next.
type checker struct {
	prefix, name, region string
	exact                bool // `unchanged` is known exactly
	lineage              int  // what ids carry; 0 and 1 for nothing
	times                map[uint64]time.Time
	readings             map[string]uint64
	names                map[uint64]string // of readings, by revision
	ids                  map[string]bool
	writer               string
	lines                []byte // of the reading so far, as the seal has them
	last                 string // seal of the last board
}

func newChecker(prefix, name, region string) *checker {
	return &checker{prefix: prefix, name: name, region: region, exact: true, times: map[uint64]time.Time{}, readings: map[string]uint64{}, names: map[uint64]string{}, ids: map[string]bool{}}
}

// check returns every field that differs.
func (c *checker) check(s sent, w want) error {
	m, err := decode(s)
	if err != nil {
		return err
	}
	var d differences
	subject := c.prefix + "." + c.region + "." + c.name + "." + w.kind
	id := fmt.Sprintf("%s/%d/%s", c.name, w.revision, w.kind)
	if c.lineage > 1 {
		id = fmt.Sprintf("%s/%d~%d/%s", c.name, w.revision, c.lineage, w.kind)
	}
	if w.uid != "" {
		subject += "." + escape(w.uid)
		id += "/" + escape(w.uid)
	}
	d.field("subject", s.subject, subject)
	d.field("content type", s.kind, "application/cloudevents+json")
	d.field("specversion", m.SpecVersion, "1.0")
	d.field("id", m.ID, id)
	d.field("source", m.Source, "/"+c.prefix+"/"+c.name)
	d.field("type", m.Type, "rankwatch."+w.kind)
	d.field("cloudevents subject", m.Subject, w.uid)
	d.field("datacontenttype", m.DataContentType, "application/json")
	d.field("dataschema", m.DataSchema, "rankwatch/v1/"+w.kind)
	d.field("watchlist", m.Data.Watchlist, c.name)
	d.field("region", m.Data.Region, c.region)
	d.field("revision", m.Data.Revision, w.revision)
	d.field("period", m.Data.Period, &w.period)
	d.field("previous_period", m.Data.PreviousPeriod, w.previous)
	if c.ids[m.ID] {
		d.add("id %s came before", m.ID)
	}
	c.ids[m.ID] = true
	c.reading(&d, m, w)
	if w.board != nil {
		c.board(&d, m, w)
		c.seals(&d, m, w)
		c.lines, c.last = nil, seal(s.data)
	} else {
		c.change(&d, m, w)
		c.lines = append(append(c.lines, s.data...), '\n')
	}
	if len(d) > 0 {
		return fmt.Errorf("%s (want %s): %w", m.ID, id, errors.Join(d...))
	}
	return nil
}

// seals checks the digests of the reading's events and of the board before.
func (c *checker) seals(d *differences, m message, w want) {
	d.field("events_digest", m.Data.EventsDigest, seal(c.lines))
	var previous *string
	if w.revision > 1 && w.board.reason != "restored" {
		if c.last == "" {
			return // that board was not seen
		}
		previous = &c.last
	}
	d.field("previous_digest", m.Data.PreviousDigest, previous)
}

func seal(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// reading checks the name and the time that all messages of a reading share.
func (c *checker) reading(d *differences, m message, w want) {
	at, err := time.Parse(time.RFC3339Nano, m.Time)
	if err != nil || !strings.HasSuffix(m.Time, "Z") {
		d.add("time %q is not RFC 3339 in UTC", m.Time)
	}
	if known, ok := c.times[w.revision]; ok {
		d.field("time", at, known)
	} else if before := c.times[w.revision-1]; at.Before(before) || at.After(time.Now().Add(time.Second)) {
		d.add("time %v, of the revision before %v", at, before)
	}
	c.times[w.revision] = at
	if r, ok := c.readings[m.Data.Reading]; m.Data.Reading == "" || ok && r != w.revision {
		d.add("reading %q is that of revision %d too", m.Data.Reading, r)
	}
	if name, ok := c.names[w.revision]; ok {
		d.field("reading", m.Data.Reading, name)
	}
	c.readings[m.Data.Reading], c.names[w.revision] = w.revision, m.Data.Reading
}

func (c *checker) change(d *differences, m message, w want) {
	d.field("n", m.Data.N, w.n)
	d.field("of", m.Data.Of, w.of)
	d.field("before", m.Data.Before, w.before)
	d.field("after", m.Data.After, w.after)
	d.field("edge", m.Data.Edge, w.edge)
	var places, change *int64
	if w.before != nil && w.after != nil {
		places = ptr(int64(w.before.Rank - w.after.Rank))
		change = ptr(w.after.PotentialIndex - w.before.PotentialIndex)
	}
	d.field("places", m.Data.Places, places)
	d.field("index_change", m.Data.IndexChange, change)
	if got := m.Data.Cause; got != nil && places != nil {
		d.field("the cause's sum", int64(got.Passed+got.DroppedAbove-got.PassedBy-got.EnteredAbove), *places)
	}
	if !oneOf(m.Data.Cause, w.causes) {
		d.field("cause", m.Data.Cause, w.causes[0])
	}
	c.who(d, m, w.item)
	h := m.Data.History
	d.field("reentry", h.Reentry, w.reentry)
	if w.unsure {
		return
	}
	d.field("peak_rank", h.PeakRank, w.peak)
	d.field("revisions_on_board", h.RevisionsOnBoard, w.revisions)
	first, err := time.Parse(time.RFC3339Nano, h.FirstSeen)
	if want, ok := c.times[w.firstSeen]; ok && (err != nil || !first.Equal(want)) {
		d.add("first_seen %q, want %v", h.FirstSeen, want)
	}
}

func oneOf(got *cause, any []*cause) bool {
	for _, w := range any {
		if reflect.DeepEqual(got, w) {
			return true
		}
	}
	return false
}

func (c *checker) who(d *differences, m message, it item) {
	got := m.Data.Creator
	link := "https://www.fastmoss.com/influencer/detail/"
	if got.URL != link+it.UID && got.URL != link+url.PathEscape(it.UID) {
		d.add("url %q", got.URL)
	}
	got.URL = ""
	// An empty name says as much as none: both spellings are taken.
	nickname := it.Nickname
	if nickname != nil && *nickname == "" && got.Nickname == nil {
		nickname = nil
	}
	d.field("creator", got, creator{UID: it.UID, UniqueID: it.UniqueID, Nickname: nickname, Avatar: it.Avatar,
		Region: it.Region, Category: it.Category, FollowerCount: it.Followers})
	figures := m.Data.Metrics
	if len(figures.SalesCategoryL3) == 0 {
		figures.SalesCategoryL3 = nil
	}
	d.field("metrics", figures, metrics{USDGMV: it.GMV, UnitsSold: it.Units, VideoUnitsSold: it.VideoUnits, LiveUnitsSold: it.LiveUnits,
		AvgPlayCount: it.AvgPlay, VideoCount: it.Videos, EcommerceType: it.Ecommerce, SalesCategoryL3: it.Sales})
}

func (c *checker) board(d *differences, m message, w want) {
	b := w.board
	d.field("outcome", m.Data.Outcome, b.outcome)
	reason := ""
	if m.Data.Reason != nil {
		reason = *m.Data.Reason
	}
	d.field("reason", reason, b.reason)
	d.field("total", m.Data.Total, b.total)
	d.field("counts", m.Data.Counts, b.counts)
	if c.exact {
		d.field("unchanged", m.Data.Unchanged, b.unchanged)
	}
	var previous *uint64
	if w.revision > 1 {
		previous = ptr(w.revision - 1)
	}
	d.field("previous_revision", m.Data.PreviousRevision, previous)
	if at, err := time.Parse(time.RFC3339Nano, m.Data.FetchedAt); err != nil || !at.Equal(c.times[w.revision]) {
		d.add("fetched_at %q, time %v", m.Data.FetchedAt, c.times[w.revision])
	}
	if m.Data.Writer == "" || c.writer != "" && m.Data.Writer != c.writer {
		d.add("writer %q, earlier %q", m.Data.Writer, c.writer)
	}
	if c.exact {
		c.writer = m.Data.Writer // one process all the time
	}
	d.field("rules", m.Data.Rules, applied(b.rules))
	var rows []boardRow
	for _, r := range b.rows {
		row := boardRow{UID: r.UID, Nickname: r.cutNickname(), Rank: r.rank, Position: r.position,
			PotentialIndex: r.Index, Member: r.member, Edge: r.edge}
		if r.UniqueID != nil {
			row.UniqueID = *r.UniqueID
		}
		rows = append(rows, row)
	}
	d.rows(m.Data.Board, rows)
}

// applied is how a board writes the rules.
func applied(r rules) map[string]any {
	ties := "shared"
	if r.ordinal {
		ties = "ordinal"
	}
	return map[string]any{"top": float64(r.top), "margin": float64(r.margin), "ties": ties,
		"moved":   map[string]any{"min_places": float64(r.minPlaces), "ignore_displaced": r.ignoreDisplaced},
		"index":   map[string]any{"min_change": float64(r.minChange)},
		"dropped": map[string]any{"after": float64(r.after)}}
}

// differences collects what is not as wanted.
type differences []error

func (d *differences) add(format string, args ...any) { *d = append(*d, fmt.Errorf(format, args...)) }

func (d *differences) field(name string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		d.add("%s: got %s, want %s", name, text(got), text(want))
	}
}

// rows names the first three rows that differ.
func (d *differences) rows(got, want []boardRow) {
	d.field("rows", len(got), len(want))
	shown := 0
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] && shown < 3 {
			shown++
			d.field(fmt.Sprintf("row %d", i+1), got[i], want[i])
		}
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
