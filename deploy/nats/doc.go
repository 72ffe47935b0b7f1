// Package nats holds a configuration of nats-server for rankwatch; its tests hold
// the permissions in it against what rankwatch does.
package nats
