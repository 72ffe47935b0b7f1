//go:build unix

package e2e

import (
	"strings"
	"syscall"
	"testing"
)

// A second worker on the stream of a living one is refused before it does
// anything.
func TestSecondWorkerIsRefused(t *testing.T) {
	t.Parallel()
	b := newBus(t, nil)
	one := install(t, b, "RANKWATCH", "rankwatch", lively(41, 4, 130), defaultRules(80))
	other := install(t, b, "RANKWATCH", "rankwatch", lively(42, 4, 130), defaultRules(80))
	one.start(t, b)
	if err := one.watch.show(0); err != nil {
		t.Fatal(err)
	}
	other.source.open()
	second := other.setup.start(t)
	if code := second.wait(t); code != 2 {
		t.Errorf("exit code %d of the second worker, want 2", code)
	}
	if out := second.logged.tail(4000); !strings.Contains(out, "RANKWATCH") || !strings.Contains(out, "worker") {
		t.Errorf("the second worker does not name the stream and the other worker:\n%s", out)
	}
	if err := one.watch.run(); err != nil {
		t.Error(err)
	}
	one.observer.agree(t)
	one.worker.stop(t)
}

// A worker that was as good as dead comes back when another one has taken its
// place: nothing of it becomes visible, it says that it is fenced off.
func TestReturnedWorkerIsFenced(t *testing.T) {
	t.Parallel()
	b := newBus(t, nil)
	lists := lively(43, 6, 130)
	one := install(t, b, "RANKWATCH", "rankwatch", lists, defaultRules(80))
	heir := install(t, b, "RANKWATCH", "rankwatch", lists, defaultRules(80))
	one.start(t, b)
	if err := one.watch.show(0); err != nil {
		t.Fatal(err)
	}
	if err := one.watch.show(1); err != nil {
		t.Fatal(err)
	}
	if err := one.worker.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	heir.watch.feed.set(2)
	heir.source.open()
	heir.worker = heir.setup.start(t)
	heir.watch.oracle, heir.watch.checker, heir.watch.got = one.watch.oracle, one.watch.checker, one.watch.got
	heir.watch.checker.exact, heir.watch.checker.writer = false, ""
	for n := 2; n < 4; n++ {
		if err := heir.watch.show(n); err != nil {
			t.Fatal(err)
		}
	}
	one.watch.feed.set(5) // a list that the heir does not have yet
	if err := one.worker.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, one.observer.statuses("list"), "fenced")
	if err := one.worker.say(`"msg":"fenced: `); err != nil {
		t.Fatal(err)
	}
	var said []string
	for line := range strings.Lines(one.worker.logged.tail(1 << 20)) {
		if strings.Contains(line, `"level":"ERROR"`) && strings.Contains(line, "fenced") {
			said = append(said, line)
		}
	}
	if len(said) != 1 || !strings.Contains(said[0], "published revision") {
		t.Errorf("the operator is told once, and by whom: %q", said)
	}
	if err := heir.watch.show(4); err != nil {
		t.Fatal(err)
	}
	if err := heir.watch.rest(); err != nil {
		t.Error(err)
	}
	one.observer.agree(t)
	heir.worker.stop(t)
}
