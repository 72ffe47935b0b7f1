package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rankwatch/rankwatch/publisher/event"
)

// The sizes in bytes that Standard Webhooks asks of a secret.
const (
	minSecret = 24
	maxSecret = 64
)

const secretPrefix = "whsec_"

// CheckSecret reads a signing secret: 24 to 64 bytes in base64, with or without
// `whsec_` before them.
// The errors hold nothing of it.
func CheckSecret(secret string) error {
	_, err := key(secret)
	return err
}

func key(secret string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return nil, errors.New("a signing secret is base64, with or without whsec_ before it") // the cause would quote it
	}
	if len(raw) < minSecret || len(raw) > maxSecret {
		return nil, fmt.Errorf("a signing secret has %d to %d bytes, not %d", minSecret, maxSecret, len(raw))
	}
	return raw, nil
}

// A signer signs with each of its secrets, so that a receiver can change from
// one to the next whenever it likes.
type signer []*standardwebhooks.Webhook

func newSigner(secrets ...string) (signer, error) {
	var s signer
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		raw, err := key(secret)
		if err != nil {
			return nil, err
		}
		w, err := standardwebhooks.NewWebhookRaw(raw)
		if err != nil {
			return nil, err
		}
		s = append(s, w)
	}
	return s, nil
}

// sign returns the value of the signature's header: one signature a secret.
func (s signer) sign(id string, at time.Time, body []byte) (string, error) {
	out := make([]string, len(s))
	for i, w := range s {
		var err error
		if out[i], err = w.Sign(id, at, body); err != nil {
			return "", err
		}
	}
	return strings.Join(out, " "), nil
}

// headerID writes a message's id as the signature's header carries it. What is
// signed is id.timestamp.body, so an id with a full stop could be taken for a
// shorter one; ids of one reading have none and stay as they are.
func headerID(id string) string { return event.EscapeUID(id) }
