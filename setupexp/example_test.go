package setupexp_test

import (
	"context"
	"fmt"
	"time"

	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// mac keeps the commands it is sent.
type mac struct{ commands []string }

func (m *mac) Enqueue(_ context.Context, _, commandUUID string, _ []byte) error {
	m.commands = append(m.commands, commandUUID)
	return nil
}

func (m *mac) Push(context.Context, string) error { return nil }

// A Mac that waits in Setup Assistant gets a profile and is released when it has it.
func Example() {
	ctx := context.Background()
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	store := memory.New()
	err := store.PutEnrollment(ctx, storage.Enrollment{
		ID: "UDID-1", Serial: "C02XK1JDJGH5", Product: "Mac15,3", State: storage.EnrollmentEnrolled, Generation: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	planner := setupexp.PlannerFunc(func(context.Context, setupexp.Subject) (*setupexp.Plan, error) {
		wifi := setupexp.Profile("wifi", "Wi-Fi", "com.example.wifi", []byte("the profile"))
		wifi.Class, wifi.Proof = setupexp.Required, setupexp.ProofAcknowledged
		return &setupexp.Plan{Items: []setupexp.Item{wifi}}, nil
	})
	device := &mac{}
	tracker, err := setupexp.New(store, planner, device, setupexp.InsecureNoSealer{},
		setupexp.WithClock(func() time.Time { return now }))
	if err != nil {
		fmt.Println(err)
		return
	}
	show := func(what string) {
		v, err := tracker.Status(ctx, "UDID-1")
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%-12s %s %d%%\n", what, v.State, v.Progress)
	}
	// A host has tracker.Run(ctx) do the work; here it is done step by step.
	observe := func(body setupexp.EventBody) {
		if err := tracker.Observe(ctx, setupexp.Event{EnrollmentID: "UDID-1", Body: body}); err != nil {
			fmt.Println(err)
		}
		for n := 1; n > 0; now = now.Add(time.Millisecond) {
			if n, err = tracker.Drain(ctx); err != nil {
				fmt.Println(err)
			}
		}
	}
	observe(setupexp.AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "TokenUpdate"})
	show("waits")
	for i, what := range []string{"has profile", "is released"} {
		observe(setupexp.CommandResult{CommandUUID: device.commands[i], Status: setupexp.StatusAcknowledged})
		show(what)
	}
	// Output:
	// waits        running 10%
	// has profile  releasing 99%
	// is released  released 100%
}

func ExamplePlan_Validate() {
	script := setupexp.Script("bootstrap", "Bootstrap", "#!/bin/zsh\n")
	script.After = []setupexp.Dependency{{ID: "agent"}}
	plan := setupexp.Plan{Items: []setupexp.Item{script}}
	fmt.Println(plan.Validate())
	// Output:
	// setupexp: invalid plan
	// item "bootstrap": comes after unknown item "agent"
}
