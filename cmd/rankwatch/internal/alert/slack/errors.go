package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/text"
)

// A TargetError says that Slack takes nothing on this way until a person mends
// it: the token was revoked, the bot is not in the channel, the webhook was
// deleted. Reason is Slack's word.
//
// It comes inside of a digest.LaterError: the messages after this one would meet
// the same, so they wait in the stream, where nothing is lost, and do not get
// parked one by one.
type TargetError struct{ Reason string }

// Error tells the reason.
func (e *TargetError) Error() string { return "slack takes nothing here: " + e.Reason }

const (
	// mendTime is how long a target is left alone that a person has to mend.
	mendTime = 5 * time.Minute
	// calmTime is how long to wait when Slack asks for patience and gives no time.
	calmTime = 30 * time.Second
	// maxWait is the longest wait that Slack is granted at once.
	maxWait = 24 * time.Hour
)

// A fault is what an error word of Slack's means for the message.
type fault int

const (
	faultUnknown fault = iota // try again, as with a network that failed
	faultMessage              // this message will never be taken
	faultTarget               // no message will be taken until a person mends it
	faultRate                 // too many calls
	faultOrphan               // the parent of the thread is gone
)

// faultOf sorts Slack's words, of chat.postMessage and of webhooks. What is not
// listed is tried again: internal_error, fatal_error, service_unavailable,
// request_timeout, rollup_error, and whatever Slack may say tomorrow.
func faultOf(word string) fault {
	switch word {
	case "invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text", "invalid_payload", "invalid_arguments",
		"invalid_arg_name", "invalid_array_arg", "invalid_charset", "invalid_form_data", "invalid_json", "json_not_object", "invalid_post_type",
		"invalid_attachments", "too_many_attachments", "attachment_payload_limit_exceeded", "markdown_text_conflict", "metadata_too_large",
		"missing_text_or_fallback_or_attachments":
		return faultMessage
	case "ratelimited", "rate_limited", "message_limit_exceeded":
		return faultRate
	case "thread_not_found", "message_not_found", "cannot_reply_to_message", "thread_locked":
		return faultOrphan
	case "channel_not_found", "user_not_found", "not_in_channel", "is_archived", "channel_is_archived", "is_inactive", "restricted_action",
		"restricted_action_read_only_channel", "restricted_action_thread_only_channel", "restricted_action_non_threadable_channel",
		"posting_to_general_channel_denied", "channel_type_not_supported",
		"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission", "missing_scope",
		"not_allowed_token_type", "access_denied", "accesslimited", "ekm_access_denied", "org_login_required", "two_factor_setup_required",
		"enterprise_is_restricted", "team_access_not_granted", "team_not_found", "method_deprecated", "deprecated_endpoint",
		"no_service", "no_service_id", "no_team", "no_active_hooks", "invalid_token", "team_disabled", "action_prohibited":
		return faultTarget
	}
	return faultUnknown
}

// refusal is the error for a word of Slack's. why are its reasons, after a 429
// after is what it asks for.
func refusal(word string, after time.Duration, why []string) error {
	shown := text.Cut(text.Printable(word), 64)
	err := errors.New("slack: " + shown)
	if faultOf(word) == faultTarget {
		err = &TargetError{word}
	}
	if len(why) > 0 {
		err = fmt.Errorf("%w: %s", err, text.Cut(text.Printable(strings.Join(why, "; ")), 512))
	}
	switch faultOf(word) {
	case faultMessage:
		return &digest.RefusedError{Reason: word, Err: err}
	case faultTarget:
		return &digest.LaterError{After: mendTime, Blocked: true, Err: err}
	case faultRate:
		if after <= 0 {
			after = calmTime
		}
		return &digest.LaterError{After: after, Err: err}
	}
	return err
}

func tooLarge() error {
	return &digest.RefusedError{Reason: "too_large", Err: errors.New("slack: HTTP 413")}
}

// sorted turns what the client library returns into what a Sender returns.
func (s *Sender) sorted(err error) error {
	if word := (slack.SlackErrorResponse{}); errors.As(err, &word) {
		return s.scrubbed(refusal(word.Err, 0, word.ResponseMetadata.Messages))
	}
	if limited := (*slack.RateLimitedError)(nil); errors.As(err, &limited) {
		return &digest.LaterError{After: min(max(limited.RetryAfter, time.Second), maxWait), Err: err}
	}
	if status := (slack.StatusCodeError{}); errors.As(err, &status) {
		if status.Code == http.StatusTooManyRequests {
			return &digest.LaterError{After: calmTime, Err: err}
		}
		if status.Code == http.StatusRequestEntityTooLarge {
			return tooLarge()
		}
		return fmt.Errorf("slack: HTTP %d", status.Code)
	}
	return fmt.Errorf("slack: %w", s.leafless(err))
}

// leafless takes the URL out of an error of net/http, and the error itself away
// if a secret is in its text all the same.
func (s *Sender) leafless(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	if clean := s.hide(err.Error()); clean != err.Error() {
		return errors.New(clean)
	}
	return err
}

// scrubbed is about words and reasons, which come from outside and might repeat
// what was sent.
func (s *Sender) scrubbed(err error) error {
	if s.hide(err.Error()) == err.Error() {
		return err
	}
	hidden := errors.New("slack: an answer that repeats the secret")
	if refused := (*digest.RefusedError)(nil); errors.As(err, &refused) {
		return &digest.RefusedError{Reason: s.hide(refused.Reason), Err: hidden}
	}
	if later := (*digest.LaterError)(nil); errors.As(err, &later) {
		return &digest.LaterError{After: later.After, Blocked: later.Blocked, Err: hidden}
	}
	return hidden
}

// hide takes the secrets out of a text.
func (s *Sender) hide(t string) string {
	for _, secret := range s.secrets {
		t = strings.ReplaceAll(t, secret, "…")
	}
	return t
}
