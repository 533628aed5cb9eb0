package abmtest_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// An organization with one MDM server entry buys a Mac; it boots before anyone has assigned a profile.
func ExampleService() {
	clock := func() time.Time { return time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC) }
	apple, err := abmtest.NewService(abmtest.WithClock(clock), abmtest.WithSeed(1))
	if err != nil {
		log.Fatal(err)
	}
	entry, err := apple.AddMDMServer("Fleet")
	if err != nil {
		log.Fatal(err)
	}
	mac := abmtest.Device{SerialNumber: "C02XL0GUJGH5", Model: "MacBook Air", Family: "Mac", OS: "OSX"}
	if err := apple.AddDevices(entry, mac); err != nil {
		log.Fatal(err)
	}
	_, err = apple.ActivationRecord("C02XL0GUJGH5")
	fmt.Println(err)

	// A client without a session is sent to GET /session.
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/account", nil)
	r.Header.Set("User-Agent", "example")
	apple.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)

	state, err := apple.Device("C02XL0GUJGH5")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(state.ServerUUID == entry.UUID(), state.ProfileStatus, state.AssignCalls)
	// Output:
	// abmtest: activation record of "C02XL0GUJGH5": no profile is assigned to the device
	// 401 UNAUTHORIZED
	// true empty 0
}

// Apple is out of service once, and then refuses a client that does not say who it is.
func ExampleService_SetFault() {
	apple, err := abmtest.NewService(abmtest.WithSeed(1))
	if err != nil {
		log.Fatal(err)
	}
	id, err := apple.SetFault(abmtest.Fault{
		Kind: abmtest.FaultUnavailable, Operation: "/account", Count: 1, RetryAfter: time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		answer := httptest.NewRecorder()
		apple.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/account", nil))
		fmt.Printf("%d %s, Retry-After %q\n", answer.Code, answer.Body, answer.Header().Get("Retry-After"))
	}
	fmt.Println("struck:", apple.Faults()[0].Struck)
	apple.ClearFaults(id)
	// Output:
	// 503 Service Unavailable, Retry-After "60"
	// 400 USER_AGENT_MISSING, Retry-After ""
	// struck: 1
}
