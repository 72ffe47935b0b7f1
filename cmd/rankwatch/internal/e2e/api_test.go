package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

const token = "s3cret-e2e-token"

// api is a source in the shape of the FastMoss API. Every feed is one list,
// addressed by region and creator category. Requests wait until open is called,
// so that a test can subscribe before anything is published.
type api struct {
	*httptest.Server
	gate    chan struct{}
	knocked chan struct{} // closed at the first request
	once    sync.Once
	openly  sync.Once

	mu    sync.Mutex
	feeds map[string]*feed
	wrong []string // requests that the real API would not take
}

func newAPI(t *testing.T) *api { return newAPIAt(t, "127.0.0.1:0") }

func newAPIAt(t *testing.T, address string) *api {
	t.Helper()
	l, err := listen(address)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{gate: make(chan struct{}), knocked: make(chan struct{}), feeds: map[string]*feed{}}
	a.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: a}}
	a.Server.Start()
	t.Cleanup(func() {
		a.open()
		a.CloseClientConnections()
		a.Close()
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, w := range a.wrong {
			t.Errorf("api: %s", w)
		}
	})
	return a
}

func (a *api) open() { a.openly.Do(func() { close(a.gate) }) }

// feed adds a list that is read to the given depth.
func (a *api) feed(region string, category, depth int) *feed {
	f := &feed{depth: depth, served: make(chan int, 1<<16), pages: map[int]bool{}}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.feeds[fmt.Sprintf("%s/%d", region, category)] = f
	return f
}

type apiRequest struct {
	Filter struct {
		Region   string  `json:"region"`
		Category int     `json:"creator_category_id"`
		Period   *period `json:"date_info"`
	} `json:"filter"`
	OrderBy  []map[string]string `json:"orderby"`
	Page     int                 `json:"page"`
	PageSize int                 `json:"pagesize"`
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.once.Do(func() { close(a.knocked) })
	select {
	case <-a.gate:
	case <-r.Context().Done():
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+token {
		answer(w, 30001, nil)
		return
	}
	var q apiRequest
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		a.complain("request body: %v", err)
	}
	if r.Method != http.MethodPost || r.URL.Path != "/creator/v1/rank/topPotential" {
		a.complain("%s %s", r.Method, r.URL.Path)
	}
	if q.Page < 1 || q.PageSize < 1 || q.PageSize > 100 || q.Page*q.PageSize > 1000 {
		a.complain("page %d of size %d", q.Page, q.PageSize)
	}
	if len(q.OrderBy) != 1 || q.OrderBy[0]["field"] != "potential_index" || q.OrderBy[0]["order"] != "desc" {
		a.complain("orderby %v", q.OrderBy)
	}
	a.mu.Lock()
	f := a.feeds[fmt.Sprintf("%s/%d", q.Filter.Region, q.Filter.Category)]
	a.mu.Unlock()
	if f == nil {
		answer(w, 20001, nil)
		return
	}
	if q.Filter.Period == nil {
		a.complain("no date_info")
		q.Filter.Period = &period{}
	}
	code, data := f.serve(q.Page, q.PageSize, *q.Filter.Period)
	answer(w, code, data)
}

func (a *api) complain(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

func answer(w http.ResponseWriter, code int, data any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"code": code, "message": "", "data": data, "timestamp": 1776186472, "request_id": "r"})
}

// feed serves its current list until a scan starts after set has named another
// one: a scan never sees two lists. Every complete scan is told on served.
type feed struct {
	depth  int
	served chan int // the list of each complete scan, in order
	// calm is how long the feed must have been left alone before it changes:
	// for lists that a reading scans several times.
	calm time.Duration
	// grow, when set, makes the next list after every complete scan, unasked.
	grow func() reading

	mu            sync.Mutex
	lists         []reading
	current, next int
	pages         map[int]bool
	reread        bool
	last          time.Time
}

// add appends a list and returns its number.
func (f *feed) add(r reading) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists = append(f.lists, r)
	return len(f.lists) - 1
}

// set names the list of the next scan.
func (f *feed) set(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = n
}

// freeze ends the growing and returns the last list.
func (f *feed) freeze() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grow = nil
	return f.next
}

// list returns what a scan of list n sees.
func (f *feed) list(n int) reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.lists[n]
	r.rows = r.rows[:min(f.depth, len(r.rows))]
	return r
}

func (f *feed) serve(page, size int, p period) (int, any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case p == f.lists[f.next].period && size < 10:
		return 0, f.page(f.lists[f.next], page, size) // a look whether the period is published
	case p != f.lists[f.next].period && p != f.lists[f.current].period:
		return 20001, nil
	default:
		f.track(page, size, p == f.lists[f.next].period)
	}
	return 0, f.page(f.lists[f.current], page, size)
}

// track follows scans. A page 1 after a complete scan of several pages is
// taken for the scan's check of page 1, until a page 2 shows that it was the
// start of another scan. Only a scan that asks for the next list's period can
// be served that list.
func (f *feed) track(page, size int, mayAdvance bool) {
	rested := time.Since(f.last) >= f.calm
	f.last = time.Now()
	switch {
	case page == 1 && f.complete(size) && len(f.pages) > 1 && !f.reread:
		f.reread = true
		return
	case page == 1:
		if rested && mayAdvance {
			f.current = f.next
		}
		f.pages, f.reread = map[int]bool{}, false
	case f.reread:
		f.pages, f.reread = map[int]bool{1: true}, false
	}
	before := f.complete(size)
	f.pages[page] = true
	if !before && f.complete(size) {
		f.served <- f.current
		if f.grow != nil && f.current == len(f.lists)-1 {
			f.lists = append(f.lists, f.grow())
			f.next = len(f.lists) - 1
		}
	}
}

func (f *feed) complete(size int) bool {
	need := min(f.depth, len(f.lists[f.current].rows))
	for p := 1; p == 1 || (p-1)*size < need; p++ {
		if !f.pages[p] {
			return false
		}
	}
	return true
}

func (f *feed) page(r reading, page, size int) map[string]any {
	rows := []any{}
	for i := (page - 1) * size; i < min(page*size, len(r.rows)); i++ {
		rows = append(rows, r.rows[i].row())
	}
	var total any = r.total
	if f.current%2 == 1 {
		total = fmt.Sprint(r.total)
	}
	return map[string]any{"list": rows, "total": total, "date_type": r.period.Type, "date_value": r.period.Value}
}
