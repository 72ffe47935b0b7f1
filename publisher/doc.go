// Package publisher brings what waits in the outbox to a JetStream stream: each
// batch once, whole and in order, whatever dies in between.
//
// A batch goes out as one atomic batch that is fenced on its chain's last
// message, so the server itself refuses a copy or a second writer. A refusal
// therefore decides nothing: only the payload of the chain's last message on
// the stream tells whether a batch arrived, has yet to, or lost to somebody
// else. Until that is known the outbox keeps it.
//
// Messages enter the stream on internal subjects; the stream renames and
// republishes them as it stores them. What a plain subscriber sees is hence
// exactly what is stored.
package publisher
