package enroll_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/storage/memory"
)

type oneTimeChallenges struct{}

func (oneTimeChallenges) IssueChallenge(context.Context, enroll.Candidate) (string, error) {
	return "make a new one and remember it", nil
}

// A handler for devices that enroll without a sign-in.
func ExampleNew() {
	keys, err := enroll.NewSessionKeys([]byte("32 random bytes that are kept ..")) // from your secret store
	if err != nil {
		fmt.Println(err)
		return
	}
	identity, err := enroll.NewSCEP(enroll.SCEPSettings{URL: "https://mdm.example.com/scep"}, oneTimeChallenges{})
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := enroll.New("https://mdm.example.com/mdm/sso", memory.New(), keys, enroll.ProfileSettings{
		Identifier: "com.example.mdm", DisplayName: "Example MDM",
		Topic:     "com.apple.mgmt.External.11111111-2222-3333-4444-555555555555",
		ServerURL: "https://mdm.example.com/mdm",
	}, identity)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/mdm/sso", h)
	mux.Handle("/mdm/sso/", h)
	fmt.Println("devices may come")
	// Output: devices may come
}

// A gate that has Macs update to 26.1 before they enroll, and keeps those out that cannot be told to.
func ExampleNewOSGate() {
	gate, err := enroll.NewOSGate(enroll.FailClosed, enroll.MinimumByFamily(map[string]enroll.OSMinimum{
		"Mac": {Version: "26.1"},
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	d := gate.Check(context.Background(), enroll.Candidate{Device: enroll.MachineInfo{
		Product: "Mac15,12", OSVersion: "26.0.1", CanRequestSoftwareUpdate: true,
	}})
	fmt.Println(d.Pass, d.Update.Update)
	// Output: false 26.1
}

func ExampleCompareVersions() {
	diff, err := enroll.CompareVersions("26.0.1", "26.1")
	fmt.Println(diff, err)
	// Output: -1 <nil>
}
