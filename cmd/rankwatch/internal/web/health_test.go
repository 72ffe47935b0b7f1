package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHealthNamesEachPartThatIsNotReady(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		status     int
		check      func(context.Context) error
	}{
		{"without a check", `{"status":"ok","problems":[]}`, 200, nil},
		{"well", `{"status":"ok","problems":[]}`, 200, func(context.Context) error { return nil }},
		{"two parts", `{"status":"unavailable","problems":["bus: away","state: disk full"]}`, 503, func(context.Context) error {
			return errors.Join(errors.New("bus: away"), errors.New("state: disk full"))
		}},
	} {
		rec := httptest.NewRecorder()
		health(c.check).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody))
		if rec.Code != c.status || rec.Body.String() != c.body+"\n" || rec.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", c.name, rec.Code, rec.Body)
		}
	}
}
