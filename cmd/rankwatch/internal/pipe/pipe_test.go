package pipe_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/rankwatch/rankwatch/cmd/rankwatch/internal/pipe"
)

func TestAReaderThatLeavesIsNoError(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	wrote := false
	err = pipe.Quiet(func() error {
		_, err := w.WriteString("x")
		wrote = err == nil
		return fmt.Errorf("print: %w", err)
	})
	if err != nil || wrote {
		t.Errorf("%v, wrote %v", err, wrote)
	}
}

func TestOtherErrorsStay(t *testing.T) {
	for _, want := range []error{
		errors.New("other"), &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, &os.PathError{Op: "write", Err: syscall.ENOSPC},
	} {
		if err := pipe.Quiet(func() error { return want }); !errors.Is(err, want) {
			t.Errorf("%v became %v", want, err)
		}
	}
}
