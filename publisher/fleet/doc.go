// Package fleet lets several workers share one installation: the queue of turns,
// the watchlist file that counts, and how the API token is.
//
// JetStream keeps and distributes all of it. Whatever is lost or comes twice here
// costs a reading and never an event, since the fence of the stream decides what is
// published.
package fleet
