package slacktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
)

// The documented limits of a message and its blocks. Slack counts characters;
// those outside of the basic plane count twice here, which is the stricter
// reading.
const (
	MaxBlocks   = 50
	MaxSection  = 3000
	MaxHeader   = 150
	MaxElements = 10
	MaxFields   = 10
	MaxField    = 2000
	MaxBlockID  = 255
	MaxText     = 40_000
)

// Slack also refuses the blocks of a message together with msg_blocks_too_long.
// That limit is in no reference; people measured 13,297 characters with one
// block and some 125 less for each more (slackapi/bolt-js issue 2509).
const (
	MaxTogether = 13_297
	BlockCosts  = 125
)

// Length is how many characters Slack counts in s.
func Length(s string) int { return len(utf16.Encode([]rune(s))) }

// object is a text object of Block Kit.
type object struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji"`
	Verbatim *bool  `json:"verbatim"`
}

// Violations tells what Slack would not take in a message: its error word, and
// why. Blocks are a JSON array, or empty. Both are empty for a message that is
// as documented.
func Violations(text string, blocks []byte) (word string, why []string) {
	if len(blocks) == 0 {
		if text == "" {
			return "no_text", []string{"neither text nor blocks"}
		}
		return tooLong(text)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(blocks, &list); err != nil {
		return "invalid_blocks_format", []string{err.Error()}
	}
	c := checker{ids: map[string]bool{}}
	if len(list) > MaxBlocks {
		c.say("/blocks", "no more than %d items allowed", MaxBlocks)
	}
	for i, b := range list {
		c.block(fmt.Sprintf("/blocks/%d", i), b)
	}
	switch {
	case c.why != nil:
		return "invalid_blocks", c.why
	case c.characters+BlockCosts*(len(list)-1) > MaxTogether:
		return "msg_blocks_too_long", []string{fmt.Sprintf("%d characters in %d blocks", c.characters, len(list))}
	case text == "":
		return "no_text", []string{"no fallback for notifications"} // Slack only warns
	}
	return tooLong(text)
}

func tooLong(text string) (string, []string) {
	if n := Length(text); n > MaxText {
		return "msg_too_long", []string{fmt.Sprintf("text has %d characters", n)}
	}
	return "", nil
}

type checker struct {
	ids        map[string]bool
	characters int
	why        []string
}

func (c *checker) say(pointer, format string, args ...any) {
	c.why = append(c.why, fmt.Sprintf("[ERROR] %s [json-pointer:%s]", fmt.Sprintf(format, args...), pointer))
}

// read decodes strictly: Slack refuses properties that it does not know.
func (c *checker) read(at string, data []byte, into any) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		c.say(at, "%s", err)
		return false
	}
	return true
}

func (c *checker) block(at string, data []byte) {
	var kind struct {
		Type    string `json:"type"`
		BlockID string `json:"block_id"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		c.say(at, "%s", err)
		return
	}
	if id := kind.BlockID; id != "" {
		if Length(id) > MaxBlockID || c.ids[id] {
			c.say(at+"/block_id", "too long or not unique")
		}
		c.ids[id] = true
	}
	switch kind.Type {
	case "section":
		c.section(at, data)
	case "header":
		var b struct {
			Text  *object
			Level int
		}
		if c.read(at, rest(data), &b) {
			c.object(at+"/text", b.Text, MaxHeader)
			if b.Text != nil && b.Text.Type != "plain_text" {
				c.say(at+"/text/type", "must be plain_text")
			}
		}
	case "context":
		c.context(at, data)
	case "divider":
		var b struct{}
		c.read(at, rest(data), &b)
	default:
		c.say(at+"/type", "unsupported type: %s", kind.Type)
	}
}

// rest is a block without what all blocks have.
func rest(data []byte) []byte {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return data
	}
	delete(m, "type")
	delete(m, "block_id")
	out, err := json.Marshal(m)
	if err != nil {
		return data
	}
	return out
}

func (c *checker) section(at string, data []byte) {
	var b struct {
		Text      *object
		Fields    []object
		Expand    bool
		Accessory json.RawMessage
	}
	if !c.read(at, rest(data), &b) {
		return
	}
	if b.Text == nil && len(b.Fields) == 0 {
		c.say(at, "missing required field: text or fields")
	}
	if b.Text != nil {
		c.object(at+"/text", b.Text, MaxSection)
	}
	if len(b.Fields) > MaxFields {
		c.say(at+"/fields", "no more than %d items allowed", MaxFields)
	}
	for i := range b.Fields {
		c.object(fmt.Sprintf("%s/fields/%d", at, i), &b.Fields[i], MaxField)
	}
}

func (c *checker) context(at string, data []byte) {
	var b struct{ Elements []object }
	if !c.read(at, rest(data), &b) {
		return
	}
	if n := len(b.Elements); n == 0 || n > MaxElements {
		c.say(at+"/elements", "1 to %d items allowed, %d given", MaxElements, n)
	}
	for i := range b.Elements {
		c.object(fmt.Sprintf("%s/elements/%d", at, i), &b.Elements[i], MaxSection)
	}
}

func (c *checker) object(at string, o *object, limit int) {
	if o == nil {
		c.say(at, "missing required field: text")
		return
	}
	n := Length(o.Text)
	c.characters += n
	switch {
	case o.Type != "plain_text" && o.Type != "mrkdwn":
		c.say(at+"/type", "must be plain_text or mrkdwn")
	case o.Type == "mrkdwn" && o.Emoji != nil:
		c.say(at+"/emoji", "not allowed with mrkdwn")
	case o.Type == "plain_text" && o.Verbatim != nil:
		c.say(at+"/verbatim", "not allowed with plain_text")
	case n == 0 || strings.TrimSpace(o.Text) == "":
		c.say(at+"/text", "must be more than 0 characters")
	case n > limit:
		c.say(at+"/text", "must be less than %d characters", limit+1)
	}
}
