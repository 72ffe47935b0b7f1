package service

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
)

// Verb is the name of Command's verb.
const Verb = "alert-helper"

// Command returns the verb that is the helper process. People don't call it.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:    Verb,
		Short:  "Send one message for 'rankwatch alert', which starts this by itself",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Both processes get them; the one that started this one decides.
			signal.Ignore(os.Interrupt, syscall.SIGTERM)
			return Deliver(cmd.InOrStdin(), cmd.OutOrStdout(), outgoing.Transport)
		},
	}
}

var errEnd = errors.New("the process that started this one is gone")

// Deliver is the helper: it reads an order, sends the message, writes the
// result, and is done; the process has to end then, since the library may go on
// trying. It changes http.DefaultTransport, which the library sends through.
// Should in end, so does Deliver, with an error.
func Deliver(in io.Reader, out io.Writer, transport func(outgoing.Config) http.RoundTripper) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	var o order
	if err != nil || json.Unmarshal(line, &o) != nil {
		return errors.New("no order on standard input; 'rankwatch alert' starts this verb by itself")
	}
	gone := make(chan error, 1)
	go func() { // ends with the process
		_, _ = lines.ReadByte()
		gone <- errEnd
	}()
	ctx, cancel := context.WithTimeoutCause(context.Background(), o.Timeout, fmt.Errorf("no answer in %s", o.Timeout))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- o.send(transport) }()
	select {
	case err = <-done:
	case err = <-gone:
		return err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return json.NewEncoder(out).Encode(resultOf(err))
}

// send sends a message through the library and says what came of it.
func (o *order) send(transport func(outgoing.Config) http.RoundTripper) error {
	k, _, err := check(o.URL)
	if err != nil {
		return err
	}
	w := &watch{
		base: transport(outgoing.Config{AllowPrivate: o.AllowPrivate, Proxy: o.Proxy, Timeout: o.Timeout}),
		html: k.html, failed: make(chan error, 1),
	}
	http.DefaultTransport = w
	done := make(chan error, 1)
	go func() { done <- o.through(w, &k) }()
	select {
	case err := <-w.failed: // the library may go on trying; nobody waits for it
		return err
	case err := <-done:
		return w.verdict(err)
	}
}

var errPanic = errors.New("the library panicked")

// through has the library send.
func (o *order) through(w *watch, k *kind) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	s, err := new(router.ServiceRouter).Locate(o.URL)
	if err != nil {
		return err
	}
	// These have a transport of their own.
	switch s := s.(type) {
	case interface{ SetHTTPClient(*http.Client) }:
		s.SetHTTPClient(&http.Client{Transport: w})
	case interface{ GetHTTPClient() *http.Client }:
		if c := s.GetHTTPClient(); c != nil {
			c.Transport = w
		}
	}
	params := types.Params{}
	for name, value := range k.params {
		params[name] = value
	}
	if o.Title != "" {
		params.SetTitle(o.Title)
	}
	return s.Send(o.Text, &params)
}
