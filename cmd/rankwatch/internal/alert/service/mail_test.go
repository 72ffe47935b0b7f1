package service_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/alert/outgoing"
)

// A postOffice is an SMTP server that keeps what it takes. Answers replaces what
// it says to a verb: text to send, or `reset`, or `hang`.
type postOffice struct {
	net.Listener
	tls     *tls.Config // nil: no STARTTLS
	answers map[string]string

	mu    sync.Mutex
	rcpts []string
	mails []string
	auths []string
	conns []net.Conn
	wg    sync.WaitGroup
}

func openPost(t *testing.T, secure *tls.Config, answers map[string]string) *postOffice {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{Listener: l, tls: secure, answers: answers}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *postOffice) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	say := func(verb, usual string) bool {
		switch answer, ok := p.answers[verb]; {
		case answer == "reset":
			return false
		case answer == "hang":
			_, _ = in.ReadByte()
			return false
		case ok:
			usual = answer
		}
		_, err := io.WriteString(c, strings.ReplaceAll(usual, "\n", "\r\n")+"\r\n")
		return err == nil
	}
	if !say("hello", "220 post ready") {
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb := strings.ToUpper(strings.Fields(line + " ?")[0])
		var ok bool
		switch verb {
		case "EHLO":
			_, secure := c.(*tls.Conn)
			switch {
			case p.tls != nil && !secure:
				ok = say(verb, "250-post\n250 STARTTLS")
			case secure:
				ok = say(verb, "250-post\n250 AUTH PLAIN LOGIN")
			default:
				ok = say(verb, "250 post")
			}
		case "STARTTLS":
			if ok = say(verb, "220 go on"); ok {
				s := tls.Server(c, p.tls)
				c, in = s, bufio.NewReader(s)
			}
		case "AUTH":
			p.keep(&p.auths, line)
			ok = say(verb, "235 welcome")
		case "RCPT":
			p.keep(&p.rcpts, line)
			ok = say(verb, "250 fine")
		case "DATA":
			if ok = say(verb, "354 go on"); !ok || p.answers[verb] != "" {
				break
			}
			var m strings.Builder
			for {
				l, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				m.WriteString(strings.TrimPrefix(l, "."))
			}
			if p.answers["end"] == "" || strings.HasPrefix(p.answers["end"], "2") {
				p.keep(&p.mails, m.String())
			}
			ok = say("end", "250 taken")
		case "QUIT":
			say(verb, "221 bye")
			return
		default:
			ok = say(verb, "250 fine")
		}
		if !ok {
			return
		}
	}
}

func (p *postOffice) keep(list *[]string, s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*list = append(*list, s)
}

func (p *postOffice) got(list *[]string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), *list...)
}

// certificate borrows httptest's, which is good for 127.0.0.1.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, roots
}

const mailTail = "/?from=ranks@a.example&fromname=Ranks&to=c@d.example,e@f.example"

func TestMailsArrive(t *testing.T) {
	t.Parallel()
	secure, roots := certificate(t)
	for name, c := range map[string]struct {
		user string
		post *postOffice
	}{
		"plain":    {"", openPost(t, nil, nil)},
		"STARTTLS": {"me:" + token + "@", openPost(t, secure, nil)},
	} {
		s := sender(t, "smtp://"+c.user+c.post.Addr().String()+mailTail, "-", outgoing.Config{AllowPrivate: true, Roots: roots})
		for range 2 { // the second is a repeat
			if err := s.Send(t.Context(), message(2)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		mails := c.post.got(&c.post.mails)
		if len(mails) != 2 || strings.Join(c.post.got(&c.post.rcpts)[:2], " ") != "RCPT TO:<c@d.example> RCPT TO:<e@f.example>" {
			t.Fatalf("%s: %q to %q", name, mails, c.post.got(&c.post.rcpts))
		}
		var ids []string
		for _, raw := range mails {
			m, err := mail.ReadMessage(strings.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, m.Header.Get("Message-Id"))
			text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
			if err != nil || !strings.Contains(string(text), "entered creator uid0001") {
				t.Errorf("%s: %q %v", name, text, err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if err != nil || subject != "us-beauty: news — changes" {
				t.Errorf("%s: subject %q %v", name, subject, err)
			}
		}
		if ids[0] != ids[1] || !strings.HasSuffix(ids[0], "@rankwatch.invalid>") {
			t.Errorf("%s: ids %q", name, ids)
		}
		if auths := c.post.got(&c.post.auths); (c.user == "") != (len(auths) == 0) {
			t.Errorf("%s: %q", name, auths)
		}
	}
}

func TestAPasswordGoesOverTLSOnlyAndTheServerIsVerified(t *testing.T) {
	t.Parallel()
	secure, _ := certificate(t)
	for name, p := range map[string]*postOffice{
		"no TLS, plain": openPost(t, nil, map[string]string{"EHLO": "250-post\n250 AUTH PLAIN"}), "no TLS, hashed": openPost(t, nil, map[string]string{"EHLO": "250-post\n250 AUTH CRAM-MD5 SCRAM-SHA-256"}),
		"nobody's certificate": openPost(t, secure, nil),
	} {
		for _, tail := range []string{"", "&encryption=ExplicitTLS", "&auth=CRAMMD5"} {
			err := sender(t, "smtp://me:"+token+"@"+p.Addr().String()+mailTail+tail, "-", outgoing.Config{AllowPrivate: true}).Send(t.Context(), message(1))
			if err == nil || strings.Contains(err.Error(), token) || len(p.got(&p.auths))+len(p.got(&p.mails)) > 0 {
				t.Errorf("%s%s: %v %q", name, tail, err, p.got(&p.auths))
			}
		}
	}
}

func TestWhatBecomesOfMailAnswers(t *testing.T) {
	t.Parallel()
	leak := token + " " + base64.StdEncoding.EncodeToString([]byte("\x00me\x00"+token))
	secure, roots := certificate(t)
	for name, c := range map[string]struct {
		answers map[string]string
		want    string
	}{
		"no such mailbox":      {map[string]string{"RCPT": "550 5.1.1 no " + leak}, "refused smtp_550"},
		"greylisted":           {map[string]string{"RCPT": "450 4.2.0 later " + leak}, "plain"},
		"too large":            {map[string]string{"end": "552 " + leak}, "refused smtp_552"},
		"full":                 {map[string]string{"end": "452 " + leak}, "plain"},
		"not this sender":      {map[string]string{"MAIL": "553 " + leak}, "refused smtp_553"},
		"wrong password":       {map[string]string{"AUTH": "535 " + leak}, "refused smtp_535"},
		"closed":               {map[string]string{"hello": "421 " + leak}, "plain"},
		"never":                {map[string]string{"hello": "554 " + leak}, "refused smtp_554"},
		"reset":                {map[string]string{"DATA": "reset"}, "plain"},
		"reset at the end":     {map[string]string{"end": "reset"}, "plain"},
		"reset at once":        {map[string]string{"hello": "reset"}, "plain"},
		"hung at once":         {map[string]string{"hello": "hang"}, "plain"},
		"hung":                 {map[string]string{"end": "hang"}, "plain"},
		"not SMTP":             {map[string]string{"hello": "HTTP/1.1 400 " + leak}, "plain"},
		"gone after it took":   {map[string]string{"RSET": "reset"}, "ok"},
		"rude after it took":   {map[string]string{"QUIT": "500 " + leak}, "ok"},
		"silent after it took": {map[string]string{"QUIT": "hang"}, "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openPost(t, secure, c.answers)
			timeout := 10 * time.Second
			if strings.Contains(fmt.Sprint(c.answers), "hang") {
				timeout = 300 * time.Millisecond
			}
			s := sender(t, "smtp://me:"+token+"@"+p.Addr().String()+mailTail, "-", outgoing.Config{AllowPrivate: true, Timeout: timeout, Roots: roots})
			err := s.Send(t.Context(), message(1))
			if got := verdict(err); got != c.want {
				t.Errorf("got %s (%v), want %s", got, err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), leak[len(token)+1:]) || !strings.Contains(err.Error(), p.Addr().String())) {
				t.Errorf("got %v", err)
			}
		})
	}
}
