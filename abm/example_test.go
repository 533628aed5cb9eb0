package abm_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A simulator stands in for Apple: it takes the certificate, gives the token file, and has three devices.
func Example() {
	ctx := context.Background()
	apple := must(abmtest.NewService())
	srv := httptest.NewServer(apple)
	defer srv.Close()
	portal := must(apple.AddMDMServer("Example MDM"))
	if err := apple.AddDevices(portal, apple.RandomDevices(3)...); err != nil {
		panic(err)
	}

	store := memory.New()
	sealer := must(storage.NewKeysetSealer(must(storage.NewKeyset())))
	resolver := must(abm.ForAll(depprofile.Default("https://mdm.example.com/mdm/sso")))
	engine := must(abm.New(store, sealer, resolver, abm.WithBaseURL(srv.URL)))

	accounts := engine.Accounts()
	must(accounts.Create(ctx, "acme", ""))
	pair := must(accounts.CreateKeyPair(ctx, "acme"))
	if err := portal.UploadCertificate(pair.Certificate); err != nil {
		panic(err)
	}
	acct := must(accounts.ImportToken(ctx, "acme", must(portal.MintToken()), abm.ImportOptions{}))
	fmt.Println("health:", acct.Health)

	// Engine.Run does these, and more, when they are due.
	sync := must(engine.SyncOnce(ctx, "acme"))
	assign := must(engine.AssignOnce(ctx, "acme"))
	fmt.Println("devices:", sync.Changed, "assigned:", assign.Assigned)
	// Output:
	// health: ok
	// devices: 3 assigned: 3
}

func ExampleNewStaticResolver() {
	mac := depprofile.Default("https://mdm.example.com/mac")
	mac.ProfileName = "Macs"
	mobile := depprofile.Default("https://mdm.example.com/mobile")
	mobile.ProfileName = "Everything else"
	r := must(abm.NewStaticResolver(abm.StaticRules{Rules: []abm.Rule{
		{Name: "the lab", Serials: []string{"C02LAB0001"}}, // no profile: left alone
		{Name: "Macs", Families: []string{"Mac"}, Profile: mac},
		{Name: "all else", Profile: mobile},
	}}))
	devices := []storage.Device{{Serial: "C02LAB0001", Family: "Mac"}, {Serial: "C02XK1JDJGH5", Family: "Mac"}, {Serial: "DMQX7000JF8J", Family: "iPad"}}
	for i, d := range must(r.Resolve(context.Background(), devices)) {
		name := "left alone"
		if d.Profile != nil {
			name = d.Profile.ProfileName
		}
		fmt.Printf("%s: %s (%s)\n", devices[i].Serial, name, d.Reason)
	}
	// Output:
	// C02LAB0001: left alone (the lab)
	// C02XK1JDJGH5: Macs (Macs)
	// DMQX7000JF8J: Everything else (all else)
}

func ExampleAPIError() {
	apple := must(abmtest.NewService())
	srv := httptest.NewServer(apple)
	defer srv.Close()
	c := must(abm.NewClient(abm.Token{
		ConsumerKey: "CK_unknown", ConsumerSecret: "CS_x", AccessToken: "AT_x", AccessSecret: "AS_x",
	}, abm.WithBaseURL(srv.URL)))

	_, err := c.AccountDetail(context.Background())
	apiErr, ok := errors.AsType[*abm.APIError](err)
	fmt.Println(ok, apiErr.StatusCode, apiErr.Temporary(), errors.Is(err, abm.ErrUnauthorized))
	// Output:
	// true 401 false true
}
