package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/storage"
)

// stage is how far a device has come, as the page and the terminal show it.
type stage int

const (
	stageInventory stage = iota // Apple has told us of the device
	stageAssigned               // it has our enrollment profile
	stageBooted                 // it has asked us for its enrollment
	stageSignedIn               // its user has signed in
	stageEnrolled               // it checks in
	stageSetup                  // setup is under way
	stageReleased               // its user may go on
	stageCount
)

// stageNames are in the order of the stages.
var stageNames = [stageCount]string{"Known", "Assigned", "Booted", "Signed in", "Enrolled", "In setup", "Released"}

func (s stage) String() string { return stageNames[s] }

// row is one device on the board.
type row struct {
	Serial string `json:"serial"`
	Model  string `json:"model"`
	Family string `json:"family"`
	User   string `json:"user,omitempty"`
	Stage  stage  `json:"stage"`
	Items  []item `json:"items,omitempty"`
	// Planned is how many items setup brings.
	Planned int       `json:"planned,omitempty"`
	Last    string    `json:"last"`
	Since   time.Time `json:"since"`
	// Seconds is the time from the first request to the release.
	Seconds float64 `json:"seconds,omitempty"`

	started time.Time
}

// item is one thing setup brings to a device.
type item struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	State string `json:"state"`
}

// board knows where every device is. It learns it from the activities alone, as any other program could.
type board struct {
	mu      sync.Mutex
	rows    map[string]*row
	serials map[string]string // enrollment id to serial
	changed chan struct{}     // closed and replaced at every change
	total   int64
}

var _ activity.Sink = (*board)(nil)

func newBoard() *board {
	return &board{rows: map[string]*row{}, serials: map[string]string{}, changed: make(chan struct{})}
}

// Deliver implements activity.Sink.
func (b *board) Deliver(_ context.Context, acts []storage.Activity) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range acts {
		if e, err := activity.Parse(a); err == nil {
			b.apply(a, e)
		}
		b.total++
	}
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

func (b *board) apply(a storage.Activity, e activity.Event) {
	serial := a.Serial
	if serial == "" {
		serial = b.serials[a.EnrollmentID]
	}
	if serial == "" {
		return
	}
	if a.EnrollmentID != "" {
		b.serials[a.EnrollmentID] = serial
	}
	r := b.rows[serial]
	if r == nil {
		r = &row{Serial: serial}
		b.rows[serial] = r
	}
	r.Last, r.Since = a.Kind, a.At
	switch e := e.(type) {
	case *activity.DeviceAdded:
		r.Model, r.Family = e.Model, e.Family
	case *activity.ProfileAssigned, *activity.ProfileVerified:
		r.reach(stageAssigned)
	case *activity.EnrollmentStarted:
		r.reach(stageBooted)
		if r.started.IsZero() {
			r.started = a.At
		}
	case *activity.SignedIn:
		r.User = e.Username
		r.reach(stageSignedIn)
	case *activity.DeviceEnrolled:
		r.reach(stageEnrolled)
	case *activity.SetupStarted:
		r.reach(stageSetup)
	case *activity.SetupPlanned:
		r.Planned = e.Items
	case *activity.SetupItemChanged:
		r.setItem(item{ID: e.Item, Title: e.Title, State: e.To})
	case *activity.SetupReleased:
		r.reach(stageReleased)
		r.Seconds = a.At.Sub(r.started).Seconds()
	}
}

func (r *row) reach(s stage) { r.Stage = max(r.Stage, s) }

func (r *row) setItem(it item) {
	if i := slices.IndexFunc(r.Items, func(o item) bool { return o.ID == it.ID }); i >= 0 {
		r.Items[i] = it
		return
	}
	r.Items = append(r.Items, it)
}

// snapshot is what the page shows.
type snapshot struct {
	Stages     []string `json:"stages"`
	Counts     []int    `json:"counts"` // devices that have reached each stage, at least
	Rows       []row    `json:"rows"`   // devices that have booted, by serial
	Activities int64    `json:"activities"`
}

// Snapshot returns the board as it is now, and a channel that closes at its next change.
func (b *board) Snapshot() (snapshot, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := snapshot{Stages: stageNames[:], Counts: make([]int, stageCount), Activities: b.total}
	for _, r := range b.rows {
		for i := range r.Stage + 1 {
			s.Counts[i]++
		}
		if r.Stage >= stageBooted {
			c := *r
			c.Items = slices.Clone(r.Items)
			s.Rows = append(s.Rows, c)
		}
	}
	slices.SortFunc(s.Rows, func(x, y row) int {
		if x.Serial < y.Serial {
			return -1
		}
		return 1
	})
	return s, b.changed
}
