package axm_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/abm/axm"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A simulator stands in for Apple: an organization with two MDM servers, one device at the old one, and an API account. A
// program that speaks to Apple leaves the two URLs out.
func Example() {
	apple := must(abmtest.NewService(abmtest.WithSeed(1)))
	api := must(abmtest.NewAXM(apple, abmtest.WithAXMPolls(1)))
	srv := httptest.NewServer(api)
	defer srv.Close()
	old, _ := must(apple.AddMDMServer("Old MDM")), must(apple.AddMDMServer("Our MDM"))
	if err := apple.AddDevices(old, abmtest.Device{SerialNumber: "C02XK1JDJGH5", Model: "iMac"}); err != nil {
		panic(err)
	}
	account := must(api.AddAPIAccount("BUSINESSAPI"))

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := must(axm.New(
		axm.Credentials{ClientID: account.ClientID, KeyID: account.KeyID, PrivateKey: must(axm.ParsePrivateKey(account.PrivateKey))},
		axm.WithBaseURL(srv.URL+"/v1/"), axm.WithTokenURL(srv.URL+"/auth/oauth2/token"),
	))
	serverID := ""
	for server, err := range client.MDMServers(ctx, axm.ListOptions{}) {
		if err == nil && server.ServerName == "Our MDM" {
			serverID = server.ID
		}
	}
	for _, r := range must(client.Move(ctx, serverID, []string{"C02XK1JDJGH5", "C02NOSUCH"})) {
		fmt.Println(r.Serial, r.State, r.Err)
	}
	fmt.Println(must(client.AssignedServer(ctx, "C02XK1JDJGH5")).ServerName)
	// Output:
	// C02XK1JDJGH5 MOVED <nil>
	// C02NOSUCH REFUSED axm: CreateActivity: HTTP 409 ENTITY_ERROR.RELATIONSHIP.INVALID (id abmtest): conflict
	// Our MDM
}

func ExampleClient_ReleaseDevices() {
	apple := must(abmtest.NewService())
	account := must(must(abmtest.NewAXM(apple)).AddAPIAccount("BUSINESSAPI"))
	client := must(axm.New(axm.Credentials{
		ClientID: account.ClientID, KeyID: account.KeyID, PrivateKey: must(axm.ParsePrivateKey(account.PrivateKey)),
	}))
	_, err := client.ReleaseDevices(context.Background(), "", []string{"C02XK1JDJGH5"})
	fmt.Println(err)
	// Output:
	// axm: releasing devices cannot be undone and was not confirmed
}
