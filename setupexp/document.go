package setupexp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/enrollkit/enrollkit/storage"
)

// A stored run is one JSON object of the form
//
//	{"state_bytes":N,"state":{...},"specs":{...}}
//
// where N is the length of the state's JSON. The specs of the items, which may be large and secret, stand apart: each
// step copies them as they are, and only executors and the agent's status open them. They are one ciphertext, a JSON
// string, or {} when there are none.
const (
	documentHead  = `{"state_bytes":`
	documentState = `,"state":`
	documentSpecs = `,"specs":`
	noSpecs       = `{}`
)

// specs are the specs of a plan's items. They never change.
type specs struct {
	plain  map[string]json.RawMessage // by item id; nil if they were loaded and not opened
	stored []byte                     // as they are in the document; nil if they were not stored yet
}

// takeSpecs returns a copy of the plan without specs, and the specs.
func takeSpecs(p Plan) (Plan, *specs) {
	sp := &specs{plain: make(map[string]json.RawMessage, len(p.Items))}
	items := make([]Item, len(p.Items))
	for i, it := range p.Items {
		if len(it.Spec) > 0 {
			sp.plain[it.ID] = it.Spec
		}
		it.Spec = nil
		items[i] = it
	}
	p.Items = items
	return p, sp
}

// joinDocument makes the document of a stored run.
func joinDocument(state, specs []byte) []byte {
	n := strconv.Itoa(len(state))
	doc := make([]byte, 0, len(documentHead)+len(n)+len(documentState)+len(state)+len(documentSpecs)+len(specs)+1)
	doc = append(append(doc, documentHead...), n...)
	doc = append(append(doc, documentState...), state...)
	doc = append(append(doc, documentSpecs...), specs...)
	return append(doc, '}')
}

// splitDocument is the inverse of joinDocument.
func splitDocument(doc []byte) (state, specs []byte, err error) {
	malformed := fmt.Errorf("setupexp: read run: malformed document")
	rest, ok := bytes.CutPrefix(doc, []byte(documentHead))
	number, rest, found := bytes.Cut(rest, []byte(documentState))
	n, numErr := strconv.Atoi(string(number))
	if !ok || !found || numErr != nil || n < 0 || n > len(rest) {
		return nil, nil, malformed
	}
	specs, ok = bytes.CutPrefix(rest[n:], []byte(documentSpecs))
	if !ok || len(specs) < 2 || specs[len(specs)-1] != '}' {
		return nil, nil, malformed
	}
	return rest[:n], specs[:len(specs)-1], nil
}

// parseState reads the JSON of a State.
func parseState(doc []byte) (State, error) {
	var s State
	if err := json.Unmarshal(doc, &s); err != nil {
		return State{}, fmt.Errorf("setupexp: read run: %w", err)
	}
	if s.Schema != schemaVersion {
		return State{}, fmt.Errorf("%w: schema version %d, this code knows %d", errForeign, s.Schema, schemaVersion)
	}
	if s.Plan != nil && len(s.Items) != len(s.Plan.Items) || s.Plan == nil && len(s.Items) > 0 {
		return State{}, fmt.Errorf("setupexp: read run: %d items do not fit the plan", len(s.Items))
	}
	for _, q := range s.Queries {
		if q == nil {
			return State{}, fmt.Errorf("setupexp: read run: empty query")
		}
	}
	planned := s.State == StateRunning || s.State == StateHeld || s.State == StateReadyManual
	if planned && s.Plan == nil || s.State == StateHeld && s.Hold == nil || s.State == StateReleasing && s.Release == nil {
		return State{}, fmt.Errorf("setupexp: read run: state %q lacks what belongs to it", s.State)
	}
	return s, nil
}

// load reads a stored run. Its specs stay closed.
func (t *Tracker) load(run storage.Run) (State, error) {
	state, stored, err := splitDocument(run.Document)
	if err != nil {
		return State{}, err
	}
	s, err := parseState(state)
	if err != nil {
		return State{}, err
	}
	s.specs = &specs{stored: stored}
	return s, nil
}

// encode is the inverse of load.
func (t *Tracker) encode(ctx context.Context, s *State) ([]byte, error) {
	state, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("setupexp: run %s: %w", s.Subject.RunID, err)
	}
	stored := []byte(noSpecs)
	if s.specs != nil && s.specs.stored != nil {
		stored = s.specs.stored
	} else if s.specs != nil {
		if stored, err = t.closeSpecs(ctx, s); err != nil {
			return nil, fmt.Errorf("setupexp: run %s: %w", s.Subject.RunID, err)
		}
	}
	return joinDocument(state, stored), nil
}

// closeSpecs returns the specs as they are stored.
func (t *Tracker) closeSpecs(ctx context.Context, s *State) ([]byte, error) {
	plain, err := json.Marshal(s.specs.plain)
	if err != nil {
		return nil, err
	}
	sealed, err := t.sealer.Seal(ctx, plain, specContext(s.Subject.RunID))
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed) // base64
}

// open puts the specs into the items of a loaded run.
func (t *Tracker) open(ctx context.Context, s *State) error {
	if s.Plan == nil || s.specs == nil {
		return nil
	}
	sp := s.specs.plain
	if sp == nil && !bytes.Equal(s.specs.stored, []byte(noSpecs)) {
		var sealed, plain []byte
		err := json.Unmarshal(s.specs.stored, &sealed)
		if err == nil {
			plain, err = t.sealer.Open(ctx, sealed, specContext(s.Subject.RunID))
		}
		if err == nil {
			err = json.Unmarshal(plain, &sp)
		}
		if err != nil {
			return fmt.Errorf("setupexp: run %s: open specs: %w", s.Subject.RunID, err)
		}
	}
	p, _ := takeSpecs(*s.Plan) // a copy
	for i := range p.Items {
		p.Items[i].Spec = sp[p.Items[i].ID]
	}
	s.Plan = &p
	return nil
}

// forget drops what a run that is over needs no more: the specs of its items, and what scripts printed. A device that
// checked out or was told to wipe itself may come back in the same generation and go through its plan again; its run
// keeps the specs.
func (s *State) forget() {
	if s.State.Live() {
		return
	}
	if s.State != StateSuperseded || s.EndReason == reasonAuthenticated {
		s.specs = nil
	}
	for i := range s.Items {
		s.Items[i].Output = ""
	}
}

// InsecureNoSealer is a Sealer that seals nothing: secrets in the specs of items are stored where everyone who can read
// the database, or a backup of it, can read them. It is for tests and demonstrations.
type InsecureNoSealer struct{}

var _ storage.Sealer = InsecureNoSealer{}

// Seal implements storage.Sealer. It returns the secret.
func (InsecureNoSealer) Seal(_ context.Context, secret, _ []byte) ([]byte, error) {
	return bytes.Clone(secret), nil
}

// Open implements storage.Sealer. It returns what it is given.
func (InsecureNoSealer) Open(_ context.Context, sealed, _ []byte) ([]byte, error) {
	return bytes.Clone(sealed), nil
}

func specContext(runID string) []byte { return []byte("setupexp specs " + runID) }
