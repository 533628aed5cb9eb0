package setupexp

import (
	"encoding/json"
	"math/rand"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/enrollkit/enrollkit/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testDevice = "8A7E3B52-1111-4A6B-9D6F-000000000001"

func start() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) }

func testSubject() Subject {
	return Subject{
		RunID: RunID(testDevice, 1), EnrollmentID: testDevice, Generation: 1,
		Account: "acme", Serial: "C02XK1JDJGH5", Product: "Mac15,3",
	}
}

// sim is a run under test and the time it is at.
type sim struct {
	t   testing.TB
	s   State
	at  time.Time
	out []Effect // of the latest event
	all []Effect
}

func newSim(t testing.TB) *sim {
	return &sim{t: t, s: newState(testSubject(), Limits{}), at: start()}
}

// planned returns a held run with a plan.
func planned(t testing.TB, p Plan) *sim {
	t.Helper()
	require.NoError(t, p.Validate("custom"))
	m := newSim(t)
	m.awaiting(storage.AwaitingTrue)
	m.do(PlanResolved{Plan: p})
	return m
}

func (m *sim) do(b EventBody) *sim {
	m.s, m.out = Reduce(m.s, Event{EnrollmentID: testDevice, Generation: 1, At: m.at, Body: b})
	m.all = append(m.all, m.out...)
	return m
}

func (m *sim) awaiting(a storage.Awaiting) *sim {
	return m.do(AwaitingSeen{Awaiting: a, Source: "TokenUpdate"})
}

// after lets time pass, waking the run whenever it wants to be.
func (m *sim) after(d time.Duration) *sim {
	m.t.Helper()
	until := m.at.Add(d)
	for range 100000 {
		next := m.s.nextWake()
		if next.IsZero() || next.After(until) {
			m.at = until
			return m
		}
		if next.After(m.at) {
			m.at = next
		}
		m.do(Tick{})
	}
	m.t.Fatalf("the run wants to be woken for ever at %v in state %s", m.at, m.s.State)
	return m
}

func (m *sim) execution(item string) string { return m.s.Items[m.s.index(item)].execution() }
func (m *sim) item(id string) *Work         { return &m.s.Items[m.s.index(id)] }

func (m *sim) answer(item string, s Status, errs ...CommandError) *sim {
	return m.do(CommandResult{CommandUUID: m.execution(item), Status: s, Errors: errs})
}

func (m *sim) ack(item string) *sim { return m.answer(item, StatusAcknowledged) }

// effects returns those of one kind among all so far.
func (m *sim) effects(k EffectKind) []Effect {
	var found []Effect
	for _, e := range m.all {
		if e.Kind == k {
			found = append(found, e)
		}
	}
	return found
}

func (m *sim) answerRelease(s Status, errs ...CommandError) *sim {
	return m.do(CommandResult{CommandUUID: m.s.releaseID(m.s.Sends), Status: s, Errors: errs})
}

// activities returns the kinds of all activities so far.
func (m *sim) activities() []string {
	var kinds []string
	for _, e := range m.effects(EffectNotify) {
		kinds = append(kinds, e.Activity.Kind())
	}
	return kinds
}

func notAwaitingError() CommandError { return CommandError{Code: 101, Domain: "MDMDeviceEnrollment"} }

func profileItem(id string) Item {
	return Profile(id, "Profile "+id, "com.example."+id, []byte("<plist/>"))
}

// simple returns an item that an acknowledgement proves.
func simple(id string) Item {
	it := profileItem(id)
	it.Proof = ProofAcknowledged
	return it
}

func packageSpec() PackageSpec {
	return PackageSpec{
		URL: "https://mdm.example.com/app.pkg", Size: 3 << 20, ChunkSize: 3 << 20,
		SHA256: []string{strings.Repeat("ab", 32)}, BundleID: "com.example.app", BundleVersion: "1.2",
	}
}

func accountItem(id string) Item {
	return Account(id, "Account", AccountSpec{FullName: "Ada Lovelace", UserName: "ada"})
}

func scriptItem(id string) Item { return Script(id, "Script "+id, "#!/bin/sh\ntrue\n") }

// randomPlan returns a valid plan of at most n items.
func randomPlan(r *rand.Rand, n int) Plan {
	p := Plan{Deadline: time.Duration(1+r.Intn(40)) * time.Minute, Hold: time.Duration(1+r.Intn(60)) * time.Minute}
	p.Manual = r.Intn(8) == 0
	p.HoldForever = r.Intn(8) == 0
	hasAgent := false
	for i := range r.Intn(n + 1) {
		id := "i" + strconv.Itoa(i)
		var it Item
		switch r.Intn(6) {
		case 0:
			it = accountItem(id)
		case 1:
			it = scriptItem(id)
		case 2:
			it = Package(id, "Package", ProofPresent, packageSpec())
		case 3:
			if !hasAgent {
				it = AgentPackage(id, "Agent", packageSpec())
				hasAgent = true
				break
			}
			it = simple(id)
		default:
			it = profileItem(id)
		}
		it.MaxAttempts = 1 + r.Intn(3)
		it.Class = []Class{Required, Blocking, Background}[r.Intn(3)]
		if it.AwaitOnly && it.Class == Background {
			it.Class = Required
		}
		if it.Class == Required && r.Intn(2) == 0 {
			it.OnFailure = PolicyHold
		} else if r.Intn(6) == 0 {
			it.OnFailure = []Policy{PolicyReleaseNow, PolicyCancelAll}[r.Intn(2)]
		}
		it.SkipIfPresent = it.Proof == ProofPresent && r.Intn(3) == 0
		it.Order = r.Intn(3)
		for j := range p.Items {
			other := &p.Items[j]
			allowed := it.Class == Background || other.Class != Background
			if allowed && !it.Agent && r.Intn(4) == 0 {
				it.After = append(it.After, Dependency{ID: other.ID, Anyway: r.Intn(2) == 0})
			}
		}
		p.Items = append(p.Items, it)
	}
	return p
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}
