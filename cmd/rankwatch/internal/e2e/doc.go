// Package e2e tests the rankwatch binary from outside: a made-up source serves
// known lists over HTTP, the real process reads them, and every message that a
// stock NATS client sees is held against an oracle.
//
// The oracle is written from the public contract alone, the slow obvious way,
// and shares no code with the worker: where both agree, two readings of the
// contract agree.
package e2e
