package nats

import "net/http"

// receiver takes webhooks and tells of each.
func receiver(told chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case told <- struct{}{}:
		default: // the first is enough
		}
	})
}
