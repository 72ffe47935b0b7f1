package slacktest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxBody is how much of a request is read.
const maxBody = 1 << 20

// ServeHTTP answers as Slack does.
func (s *Slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := s.fault()
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	switch {
	case strings.HasPrefix(r.URL.Path, "/services/"):
		s.hook(w, r, f)
	case r.URL.Path == "/api/chat.postMessage":
		s.post(w, r, f)
	case strings.HasPrefix(r.URL.Path, "/api/"):
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": "unknown_method"})
	default:
		http.NotFound(w, r)
	}
}

// status is that of a webhook's answer, as documented.
func status(word string) int {
	switch word {
	case "action_prohibited", "invalid_token", "posting_to_general_channel_denied", "team_disabled":
		return http.StatusForbidden
	case "no_service", "no_service_id", "no_team", "channel_not_found":
		return http.StatusNotFound
	case "channel_is_archived":
		return http.StatusGone
	case "rate_limited", "ratelimited":
		return http.StatusTooManyRequests
	case "rollup_error", "internal_error", "fatal_error":
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

func (s *Slack) hook(w http.ResponseWriter, r *http.Request, f Fault) {
	say := func(word string) {
		w.Header().Set("Content-Type", "text/html")
		code := status(word)
		if f.Status != 0 {
			code = f.Status
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, word)
	}
	var in struct {
		Text     string          `json:"text"`
		Blocks   json.RawMessage `json:"blocks"`
		ThreadTS string          `json:"thread_ts"`
	}
	if !s.failed(w, f, func() {
		if json.NewDecoder(r.Body).Decode(&in) == nil {
			s.take(Message{Webhook: true, Text: in.Text, Blocks: in.Blocks}, false)
		}
	}, say) {
		return
	}
	switch {
	case r.URL.Path != s.HookPath():
		say("no_service")
		return
	case r.Method != http.MethodPost, json.NewDecoder(r.Body).Decode(&in) != nil:
		say("invalid_payload")
		return
	}
	if wait := s.limited("hook"); wait > 0 {
		retryAfter(w, wait)
		say("rate_limited")
		return
	}
	if word, _ := Violations(in.Text, in.Blocks); word != "" {
		say(word)
		return
	}
	s.take(Message{Webhook: true, Text: in.Text, Blocks: in.Blocks, ThreadTS: in.ThreadTS}, true)
	_, _ = io.WriteString(w, "ok")
}

// failed plays a fault and tells whether the call goes on.
func (s *Slack) failed(w http.ResponseWriter, f Fault, take func(), say func(word string)) (goOn bool) {
	if f.Taken {
		take()
	}
	if f.Reset {
		reset()
	}
	retryAfter(w, f.RetryAfter)
	switch {
	case f.HTML:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(max(f.Status, http.StatusOK))
		_, _ = io.WriteString(w, "<html><body><h1>Server Error</h1></body></html>")
	case f.Body != "":
		w.WriteHeader(max(f.Status, http.StatusOK))
		_, _ = io.WriteString(w, f.Body)
	case f.Word != "" && say != nil:
		say(f.Word)
	case f.Word != "":
		why := map[string]any{"messages": f.Why}
		answer(w, max(f.Status, http.StatusOK), map[string]any{"ok": false, "error": f.Word, "response_metadata": why})
	case f.Status != 0:
		w.WriteHeader(f.Status)
	case f.Taken:
		reset()
	default:
		return true
	}
	return false
}

// reset ends the connection without an answer.
func reset() { panic(http.ErrAbortHandler) }

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *Slack) post(w http.ResponseWriter, r *http.Request, f Fault) {
	refuse := func(word string, why ...string) {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": word, "response_metadata": map[string]any{"messages": why}})
	}
	if err := r.ParseForm(); err != nil {
		refuse("invalid_form_data")
		return
	}
	m := Message{Channel: r.Form.Get("channel"), Text: r.Form.Get("text"), Blocks: json.RawMessage(r.Form.Get("blocks")), ThreadTS: r.Form.Get("thread_ts")}
	if !s.failed(w, f, func() { s.take(m, false) }, nil) {
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "" {
		token = r.Form.Get("token")
	}
	switch {
	case token == "":
		refuse("not_authed")
		return
	case token != s.cfg.Token:
		refuse("invalid_auth")
		return
	case !slices.Contains(s.cfg.Channels, m.Channel):
		refuse("channel_not_found")
		return
	}
	if wait := s.limited(m.Channel); wait > 0 {
		retryAfter(w, wait)
		answer(w, http.StatusTooManyRequests, map[string]any{"ok": false, "error": "ratelimited"})
		return
	}
	if word, why := Violations(m.Text, m.Blocks); word != "" {
		refuse(word, why...)
		return
	}
	if s.orphan(m.ThreadTS) {
		refuse(s.cfg.Unthreaded)
		return
	}
	m = s.take(m, true)
	shown := map[string]any{"type": "message", "bot_id": "B0FAKE", "text": m.Text, "ts": m.TS}
	if m.ThreadTS != "" {
		shown["thread_ts"] = m.ThreadTS
	}
	answer(w, http.StatusOK, map[string]any{"ok": true, "channel": m.Channel, "ts": m.TS, "message": shown})
}
