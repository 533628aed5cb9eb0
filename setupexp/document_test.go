package setupexp

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzDocument(f *testing.F) {
	f.Add(joinDocument([]byte(`{"schema":1}`), []byte(`{"a":{}}`)))
	f.Add([]byte(`{"state_bytes":99,"state":{},"specs":{}}`))
	f.Add([]byte(`{"state_bytes":-1,"state":{},"specs":{}}`))
	f.Add([]byte(`{"state_bytes":2,"state":{},"specs":}`))
	f.Add(joinDocument([]byte(`{"schema":1,"state":"held"}`), []byte(`{}`)))
	f.Add(joinDocument([]byte(`{"schema":1,"state":"releasing","queries":{"x":null}}`), []byte(`{}`)))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, doc []byte) {
		state, specs, err := splitDocument(doc)
		if err != nil {
			require.Nil(t, state)
			return
		}
		again, more, err := splitDocument(joinDocument(state, specs))
		require.NoError(t, err)
		require.Equal(t, string(state), string(again))
		require.Equal(t, string(specs), string(more))
		if s, err := parseState(state); err == nil {
			s.view()
			s.nextWake()
		}
	})
}

func TestAStoredRunIsJSON(t *testing.T) {
	t.Parallel()
	b := newBench(t, &Plan{Items: []Item{simple("wifi"), scriptItem("s")}})
	b.waits()
	b.work()
	run, err := b.store.GetRun(t.Context(), RunID(testDevice, 1))
	require.NoError(t, err)
	var doc struct {
		State State
		Specs []byte
	}
	require.NoError(t, json.Unmarshal(run.Document, &doc))
	var specs map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(doc.Specs, &specs)) // nothing seals them here
	require.Len(t, specs, 2)
	require.Nil(t, doc.State.Plan.Items[0].Spec)
}
