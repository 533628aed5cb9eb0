package setupexp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPlansThatAreRefused(t *testing.T) {
	t.Parallel()
	with := func(change func(it *Item)) Plan {
		it := simple("a")
		change(&it)
		return Plan{Items: []Item{it}}
	}
	after := func(it Item, ids ...string) Item {
		for _, id := range ids {
			it.After = append(it.After, Dependency{ID: id})
		}
		return it
	}
	background := simple("bg")
	background.Class = Background
	hashes := packageSpec()
	hashes.ChunkSize = 1 << 20
	web := packageSpec()
	web.URL = "http://mdm.example.com/app.pkg"
	for name, tt := range map[string]struct {
		plan Plan
		want string
	}{
		"id":             {with(func(it *Item) { it.ID = "a b" }), "bad id"},
		"id twice":       {Plan{Items: []Item{simple("a"), simple("a")}}, "used twice"},
		"title":          {with(func(it *Item) { it.Title = "" }), "no title"},
		"kind":           {with(func(it *Item) { it.Kind = "x" }), "unknown kind"},
		"class":          {with(func(it *Item) { it.Class = "" }), "unknown class"},
		"policy":         {with(func(it *Item) { it.OnFailure = "x" }), "unknown failure policy"},
		"proof":          {with(func(it *Item) { it.Proof = "" }), "unknown proof"},
		"timeout":        {with(func(it *Item) { it.Timeout = 0 }), "timeout"},
		"attempts":       {with(func(it *Item) { it.MaxAttempts = 0 }), "attempts"},
		"lane":           {with(func(it *Item) { it.Lane = "" }), "no lane"},
		"hold":           {with(func(it *Item) { it.OnFailure = PolicyHold }), "only a required item"},
		"spec":           {with(func(it *Item) { it.Spec = []byte("{") }), "bad spec"},
		"empty spec":     {with(func(it *Item) { it.Spec = []byte("{}") }), "needs its payload"},
		"await-only":     {with(func(it *Item) { it.AwaitOnly, it.Class = true, Background }), "background"},
		"cycle":          {Plan{Items: []Item{after(simple("a"), "b"), after(simple("b"), "a")}}, "after itself"},
		"itself":         {Plan{Items: []Item{after(simple("a"), "a")}}, "after itself"},
		"unknown edge":   {Plan{Items: []Item{after(simple("a"), "x")}}, "unknown item"},
		"waits for bg":   {Plan{Items: []Item{after(simple("a"), "bg"), background}}, "background item"},
		"agent's agent":  {Plan{Items: []Item{after(AgentPackage("a", "A", packageSpec()), "s"), scriptItem("s")}}, "items that need it"},
		"two agents":     {Plan{Items: []Item{AgentPackage("a", "A", packageSpec()), AgentPackage("b", "B", packageSpec())}}, "install the agent"},
		"deadline":       {Plan{Deadline: time.Second}, "deadline"},
		"lane capacity":  {Plan{Lanes: map[string]int{"x": 0}}, "capacity"},
		"hashes":         {Plan{Items: []Item{Package("a", "A", ProofAcknowledged, hashes)}}, "hashes"},
		"http":           {Plan{Items: []Item{Package("a", "A", ProofAcknowledged, web)}}, "https"},
		"script":         {Plan{Items: []Item{Script("a", "A", "echo")}}, "#!"},
		"skip, no admin": {Plan{Items: []Item{Account("a", "A", AccountSpec{SkipPrimary: true})}}, "needs an admin"},
		"lock, no name":  {Plan{Items: []Item{Account("a", "A", AccountSpec{Lock: true})}}, "needs a full name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.plan.Validate()
			require.ErrorIs(t, err, ErrInvalidPlan)
			require.ErrorContains(t, err, tt.want)
		})
	}
	good := Plan{Items: []Item{
		AgentPackage("agent", "Agent", packageSpec()), after(scriptItem("s"), "agent"), accountItem("acc"), profileItem("p"),
	}}
	require.NoError(t, good.Validate())
}
