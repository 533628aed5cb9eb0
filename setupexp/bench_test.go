package setupexp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// BenchmarkRun brings devices with 40 profiles of 8 KiB to their release. It reports the time for one event.
func BenchmarkRun(b *testing.B) {
	plan := &Plan{}
	for i := range 40 {
		it := Profile(fmt.Sprint("p", i), "Profile", "com.example", make([]byte, 8<<10))
		it.Proof = ProofAcknowledged
		plan.Items = append(plan.Items, it)
	}
	events := 0
	for b.Loop() {
		q, c := newQueue(), &clock{at: start()}
		store := memory.New()
		require.NoError(b, store.PutEnrollment(b.Context(), storage.Enrollment{
			ID: testDevice, State: storage.EnrollmentEnrolled, Generation: 1,
		}))
		s := newState(testSubject(), Limits{})
		s.Nonce = strings.Repeat("00", 16)
		tr := &Tracker{store: store, commander: q, sealer: InsecureNoSealer{}, executors: map[Kind]Executor{},
			kick:     make(chan struct{}, 1),
			settings: settings{now: c.now, random: bytes.NewReader(make([]byte, 16))}, watchers: watchers{m: make(map[string]*watched)}}
		observe := func(body EventBody) {
			require.NoError(b, tr.Observe(b.Context(), Event{EnrollmentID: testDevice, Body: body}))
			events++
		}
		observe(AwaitingSeen{Awaiting: storage.AwaitingTrue})
		observe(PlanResolved{Plan: *plan})
		for i := range plan.Items {
			observe(CommandResult{CommandUUID: s.executionID(plan.Items[i].ID, 1), Status: StatusAcknowledged})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(events), "µs/event")
}
