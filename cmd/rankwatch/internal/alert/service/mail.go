package service

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"net/url"
	"strconv"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/email/smtp"
	"github.com/wneessen/go-mail"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/digest"
	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
)

// parseMail reads a URL as shoutrrr writes those of e-mail:
// smtp://user:password@host:port/?from=a@b.example&to=c@d.example,e@f.example.
func parseMail(u *url.URL) (*smtp.Config, error) {
	var s smtp.Service
	if err := s.Initialize(u, nil); err != nil || s.Config == nil || s.Config.Host == "" {
		return nil, errors.New("smtp: the URL is not one of e-mail: smtp://user:password@host:port/?from=…&to=…")
	}
	c := s.Config
	c.FixEmailTags()
	msg := mail.NewMsg()
	if msg.FromFormat(c.FromName, c.FromAddress) != nil || msg.To(c.ToAddresses...) != nil {
		return nil, errors.New("smtp: from or to is not an address")
	}
	if c.UseHTML {
		return nil, errors.New("smtp: usehtml is not possible: mails are plain text")
	}
	if signsIn(c) && (c.Encryption == smtp.EncMethods.None || c.Encryption == smtp.EncMethods.Auto && c.Port != smtp.ImplicitTLSPort && !c.UseStartTLS) {
		return nil, errors.New("smtp: a user name needs TLS, which the URL turns off")
	}
	return c, nil
}

func signsIn(c *smtp.Config) bool { return c.Username != "" && c.Auth != smtp.AuthTypes.None }

// A letter is one mail. Its Message-ID is made of id, so that mailboxes that
// drop copies drop a repeat.
type letter struct{ id, subject, text string }

// mail sends a letter to all addresses in one transaction: all get it or none.
func (s *Sender) mail(ctx context.Context, l letter) error {
	c, err := parseMail(s.url)
	if err != nil {
		return err
	}
	msg := mail.NewMsg()
	if err := errors.Join(msg.FromFormat(c.FromName, c.FromAddress), msg.To(c.ToAddresses...)); err != nil {
		return &digest.RefusedError{Reason: "address", Err: errors.New("from or to is not an address")}
	}
	msg.Subject(l.subject)
	msg.SetDate()
	sum := sha256.Sum256([]byte(s.config.URL + "\x00" + l.id))
	msg.SetMessageIDWithValue(hex.EncodeToString(sum[:16]) + "@rankwatch.invalid")
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(mail.TypeTextPlain, l.text)

	// What is left of the connection ends with this call or with ctx.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := mail.NewClient(c.Host, s.options(ctx, c)...)
	if err != nil {
		return &digest.RefusedError{Reason: "not_sent", Err: errNotSent}
	}
	if err := client.DialWithContext(ctx); err != nil {
		return s.mailFailure(ctx, err)
	}
	err = client.Send(msg)
	if msg.IsDelivered() { // whatever came after that
		_ = client.Close()
		return nil
	}
	return s.mailFailure(ctx, err)
}

// options are how the server is spoken to. A password goes over TLS only.
func (s *Sender) options(ctx context.Context, c *smtp.Config) []mail.Option {
	out := s.config.Outgoing
	security := out.TLS()
	security.ServerName = c.Host
	methods := smtp.EncMethods
	implicit := c.Encryption == methods.ImplicitTLS || c.Encryption == methods.Auto && c.Port == smtp.ImplicitTLSPort
	policy := mail.TLSOpportunistic
	switch {
	case implicit: // the connection has it already
	case c.Encryption == methods.None || c.Encryption == methods.Auto && !c.UseStartTLS:
		policy = mail.NoTLS
	case c.Encryption == methods.ExplicitTLS || c.RequireStartTLS || signsIn(c):
		policy = mail.TLSMandatory
	}
	options := []mail.Option{
		mail.WithPort(int(c.Port)), mail.WithTimeout(out.Timeout), mail.WithTLSConfig(security), mail.WithTLSPolicy(policy), mail.WithoutNoop(),
		mail.WithDialContextFunc(func(dial context.Context, network, address string) (net.Conn, error) {
			conn, err := out.Dial(dial, network, address)
			if err != nil {
				return nil, err
			}
			context.AfterFunc(ctx, func() { _ = conn.Close() })
			if !implicit {
				return conn, nil
			}
			secure := tls.Client(conn, security)
			return secure, secure.HandshakeContext(dial)
		}),
	}
	if c.ClientHost != "" && c.ClientHost != "auto" {
		options = append(options, mail.WithHELO(c.ClientHost))
	}
	if !signsIn(c) {
		return options
	}
	auth := mail.SMTPAuthAutoDiscover
	switch c.Auth {
	case smtp.AuthTypes.CRAMMD5:
		auth = mail.SMTPAuthCramMD5
	case smtp.AuthTypes.OAuth2:
		auth = mail.SMTPAuthXOAUTH2
	}
	return append(options, mail.WithSMTPAuth(auth), mail.WithUsername(c.Username), mail.WithPassword(c.Password))
}

// mailFailure judges an error. A server's own words can repeat addresses and
// passwords, so only its code is told.
func (s *Sender) mailFailure(ctx context.Context, err error) error {
	host := s.url.Host
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: no answer: %w", host, cause)
	}
	code := 0
	var sent *mail.SendError
	var said *textproto.Error
	switch {
	case errors.As(err, &sent) && sent.ErrorCode() != 0:
		code = sent.ErrorCode()
	case errors.As(err, &said):
		code = said.Code
	}
	answer := fmt.Errorf("%s answered %d", host, code)
	switch {
	case code >= 500:
		return &digest.RefusedError{Reason: "smtp_" + strconv.Itoa(code), Err: answer}
	case code > 0:
		return answer
	}
	return outgoing.Strip(outgoing.Hide(s.url, err))
}
