package e2e

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The published schemas, as downstream services get them.
const published = "../../../../deploy/schemas"

// A judge holds messages against the published schemas: as a whole, and their
// data against what dataschema names.
type judge struct {
	whole *jsonschema.Schema
	data  map[string]*jsonschema.Schema // by dataschema
}

func newJudge() (*judge, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	j := &judge{data: map[string]*jsonschema.Schema{}}
	var err error
	if j.whole, err = c.Compile(filepath.Join(published, "message.json")); err != nil {
		return nil, err
	}
	for _, kind := range []string{"entered", "moved", "dropped", "index", "board", "status"} {
		s, err := c.Compile(filepath.Join(published, kind+".json"))
		if err != nil {
			return nil, err
		}
		j.data["rankwatch/v1/"+kind] = s
	}
	return j, nil
}

func (j *judge) judge(data []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if err := j.whole.Validate(v); err != nil {
		return err
	}
	m := v.(map[string]any)
	s := j.data[m["dataschema"].(string)]
	if s == nil {
		return fmt.Errorf("no schema is %v", m["dataschema"])
	}
	return s.Validate(m["data"])
}

// conform checks every stored message against the published schemas.
func conform(t *testing.T, stored []sent) {
	t.Helper()
	j, err := newJudge()
	if err != nil {
		t.Fatal(err)
	}
	judged := map[string]int{}
	for _, m := range stored {
		if err := j.judge(m.data); err != nil {
			t.Errorf("%s (sequence %d) is not what its schema says: %v\n%.2000s", m.subject, m.sequence, err, m.data)
			return
		}
		judged[strings.Split(m.subject, ".")[3]]++
	}
	t.Logf("valid by the published schemas: %v", judged)
}
