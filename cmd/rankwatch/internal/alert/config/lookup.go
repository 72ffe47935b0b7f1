package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/settings"
)

// maxFile is the most that is read of a file that a configuration names, bytes.
const maxFile = 16 << 20

// A Lookup is what a configuration refers to.
type Lookup struct {
	Env  func(name string) (string, bool)
	File func(path string) ([]byte, error)
	// Service says why the notifier library does not take a URL, without any part
	// of the URL; empty if it does. Nil takes all.
	Service func(url string) string
}

// OS looks into the environment and the files of this machine.
func OS() Lookup { return Lookup{Env: os.LookupEnv, File: readFile} }

func readFile(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return data, err
}

// relativeTo reads relative paths from where the file is.
func (l Lookup) relativeTo(file string) Lookup {
	read, dir := l.File, filepath.Dir(file)
	l.File = func(path string) ([]byte, error) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return read(path)
	}
	return l
}

// unreadable says why a file cannot be read, without its path: the place of the
// mistake tells that, and the path may be a secret that somebody put there.
func unreadable(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secret resolves env:NAME, file:PATH, or what is none of both. The mistake is
// empty if there is none, and never quotes a value.
func (l Lookup) secret(text string) (s settings.Secret, mistake string) {
	value, from := text, "the value"
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		if !envName.MatchString(name) {
			return s, "after env: goes the name of a variable, as in env:SLACK_WEBHOOK"
		}
		from = "the variable " + name
		if value, ok = l.Env(name); !ok {
			return s, from + " is not set"
		}
	} else if path, ok := strings.CutPrefix(text, "file:"); ok {
		from = "the file"
		data, err := l.File(path)
		if err != nil {
			return s, "the file cannot be read: " + unreadable(err)
		}
		value = string(data)
	} else if strings.HasPrefix(text, "$") {
		return s, "variables are not put in here by $; write env:NAME"
	}
	value = strings.TrimSpace(value)
	switch {
	case value == "":
		return s, from + " is empty"
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7F }):
		return s, from + " has more than one line, or a control character"
	}
	return settings.NewSecret(value), ""
}

// secretPlace tells what no message may quote: all of the targets but their
// names, and what looks like a secret wherever somebody put it.
func secretPlace(path, text string) bool {
	switch {
	case strings.HasPrefix(path, "targets."), strings.HasSuffix(path, ".target"), strings.Contains(path, ".targets"):
		return true
	case path == "targets" && !plainName.MatchString(text):
		return true
	}
	for _, sign := range []string{"://", "xox", "whsec_", "Bearer "} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}
