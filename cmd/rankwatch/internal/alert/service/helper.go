package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// maxAnswer is what is read of a helper's output, in bytes.
const maxAnswer = 64 << 10

// errHelper means that the helper ended without an answer.
var errHelper = errors.New("the helper process gave no answer")

// ask starts the helper, hands it an order and waits for its answer. The helper
// dies with ctx, and with this process: the end of its standard input ends it.
func ask(ctx context.Context, argv []string, o order) (result, error) {
	line, err := json.Marshal(o)
	if err != nil {
		return result{}, fmt.Errorf("helper: %w", err)
	}
	var out limited
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = passed()
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return result{}, fmt.Errorf("helper: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return result{}, fmt.Errorf("helper: %w", err)
	}
	_, werr := in.Write(append(line, '\n'))
	err = cmd.Wait() // closes in
	// Its answer counts, however it ended. What it wrote to its standard error, a
	// panic, may hold the URL.
	var r result
	switch jerr := json.Unmarshal(out.Bytes(), &r); {
	case jerr == nil && (r.Sent || r.Error != ""):
		return r, nil
	case ctx.Err() != nil:
		return result{}, fmt.Errorf("no answer: %w", ctx.Err())
	}
	return result{}, errors.Join(errHelper, err, werr)
}

// passed is the environment of the helper: what TLS, names, proxies and the
// system need, and no secret of this process.
func passed() []string {
	env := []string{} // nil would pass everything
	for _, name := range []string{
		"PATH", "SystemRoot", "TMPDIR", "TEMP", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "RES_OPTIONS", "LOCALDOMAIN",
		"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy",
	} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

type limited struct{ bytes.Buffer }

// Write drops what is too much.
func (l *limited) Write(p []byte) (int, error) {
	if room := maxAnswer - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
