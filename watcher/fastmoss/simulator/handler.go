package simulator

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The codes of the API.
const (
	codeBadParameter = 10001
	codeNotFound     = 20001
	codeNoPermission = 30001
	codeUnknownToken = 1002
	codeQuota        = 30002
	codeThrottled    = 30003
	codeService      = 40001
)

// shutdownGrace is how long Serve lets calls finish.
const shutdownGrace = 5 * time.Second

// A refusal is a code other than 0.
type refusal struct {
	code    int
	message string
}

// admission is a call with everything that the simulator decided about it
// while it held its lock. The answer follows from it and the source.
type admission struct {
	request
	refusal
	token string
	n     int64
	now   time.Time
	fault Kind
	delay time.Duration
	scan  scan
}

// ServeHTTP implements http.Handler.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != Path {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	}
	req, err := readRequest(r, s.cfg.Location)
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		token = ""
	}
	a, known := s.admit(token, req, err)
	if known && s.cfg.OnCall != nil {
		call := Call{N: a.n, Query: req.Query, Page: req.page, Size: req.size, Fault: a.fault}
		if err != nil {
			call = Call{N: a.n, Fault: a.fault}
		}
		s.cfg.OnCall(call)
	}
	switch a.fault {
	case Hung:
		wait(r.Context(), a.delay)
		panic(http.ErrAbortHandler)
	case Slow:
		if !wait(r.Context(), a.delay) {
			panic(http.ErrAbortHandler)
		}
	case Reset:
		reset(w)
		return
	}
	send(w, a.fault, s.answer(a))
}

// admit meters the call and decides its fate; false if its token is not known.
func (s *Simulator) admit(token string, req request, mistake error) (admission, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	a := admission{request: req, token: token, n: s.calls, now: s.now()}
	account := s.tokens[token]
	if token == "" || account == nil || !account.valid {
		s.refused++
		a.refusal = refusal{s.cfg.BadToken, "no permission: unknown token"}
		return a, false
	}
	account.Calls++
	s.meetFault(&a)
	if a.fault != "" {
		account.Faults++
	}
	if a.fault.replacesAnswer() {
		return a, true
	}
	switch {
	case mistake != nil:
		a.refusal = refusal{codeBadParameter, "bad parameter: " + mistake.Error()}
	case s.quota > 0 && account.Charged >= s.quota:
		a.refusal = refusal{codeQuota, "data limit reached"}
	case account.limiter != nil && !account.limiter.AllowN(a.now, 1):
		a.refusal = refusal{codeThrottled, "access frequency limit reached"}
	default:
		account.Charged++
		a.scan = s.nextScan(req)
	}
	return a, true
}

func (s *Simulator) meetFault(a *admission) {
	for _, f := range s.faults {
		kind, struck := f.strike(a.request)
		if struck && a.fault == "" {
			a.fault, a.delay = kind, f.Delay
		}
	}
	if a.fault == "" {
		return
	}
	s.strikes[a.fault]++
	if a.delay == 0 && a.fault == Slow {
		a.delay = defaultSlowness
	}
	if a.delay == 0 && a.fault != Hung {
		a.delay = defaultRetry
	}
}

func (s *Simulator) nextScan(req request) scan {
	sc := s.scans[req.Query]
	if sc == nil {
		sc = new(scan)
		s.scans[req.Query] = sc
	}
	sc.calls++
	if req.page == 1 {
		sc.readings++
	}
	return *sc
}

// wait returns after d, or false when the caller is gone; 0 waits for that.
func wait(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		<-ctx.Done()
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reset breaks the connection so that the client sees a TCP reset, not an end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		// Only HTTP/2 and recorders come here; an abort is their reset.
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// It can fail only on a connection that is gone already.
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// A reply is an HTTP answer before a fault cuts it.
type reply struct {
	status      int
	contentType string
	retryAfter  string
	body        []byte
}

func send(w http.ResponseWriter, fault Kind, r reply) {
	h := w.Header()
	if fault == WrongType {
		r.contentType = typeHTML
	}
	h.Set("Content-Type", r.contentType)
	if r.retryAfter != "" {
		h.Set("Retry-After", r.retryAfter)
	}
	if fault == Truncated {
		r.body = r.body[:len(r.body)/2]
	}
	h.Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
	if fault == Cut {
		_, _ = w.Write(r.body[:len(r.body)/2])
		// Without the flush the client may see no byte of the answer.
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	// A write fails when the client is gone: nobody is left to be told.
	_, _ = w.Write(r.body)
}

// Serve answers on ln until ctx ends, then lets the calls in hand finish, except
// those that hang on purpose. It closes ln and returns nil after a clean end.
func (s *Simulator) Serve(ctx context.Context, ln net.Listener) error {
	// What hangs or is slow ends with the base context.
	base, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	server := &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	release()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
