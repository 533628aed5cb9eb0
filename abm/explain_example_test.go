package abm_test

import (
	"context"
	"fmt"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// inventoried returns an engine on a store that knows a Mac and an iPad of an account, which has no token yet.
func inventoried(ctx context.Context) *abm.Engine {
	store := memory.New()
	sealer := must(storage.NewKeysetSealer(must(storage.NewKeyset())))
	engine := must(abm.New(store, sealer, must(abm.ForAll(nil))))
	must(engine.Accounts().Create(ctx, "acme", ""))
	if err := store.CommitInventory(ctx, storage.InventoryChange{Account: "acme", Devices: []storage.Device{
		{Account: "acme", Serial: "C02XK1JDJGH5", Family: "Mac"}, {Account: "acme", Serial: "DMQX7000JF8J", Family: "iPad"},
	}}); err != nil {
		panic(err)
	}
	return engine
}

func ExampleEngine_Explain() {
	ctx := context.Background()
	x := must(inventoried(ctx).Explain(ctx, "C02XK1JDJGH5"))
	fmt.Println(x.Verdict)
	fmt.Println(x.Summary)
	fmt.Println(x.Accounts[0].Next)
	fmt.Println(x.Accounts[0].Do[0])
	// Output:
	// nothing_wanted
	// No profile is wanted for it (all devices).
	// Nothing happens unless Apple's record of the device or the rules change.
	// Download a new server token of the MDM server of account acme from Apple's portal and import it into account acme.
}

func ExampleEngine_DryRun() {
	ctx := context.Background()
	rules := must(abm.NewStaticResolver(abm.StaticRules{Rules: []abm.Rule{
		{Name: "Macs", Families: []string{"Mac"}, Profile: depprofile.Default("https://mdm.example.com/mac")},
	}}))
	res := must(inventoried(ctx).DryRun(ctx, rules, abm.DryRunOptions{}))
	for _, g := range res.Groups {
		fmt.Println(g.Outcome, g.Devices, g.Reason, g.Serials)
	}
	fmt.Println("calls to define:", res.Accounts[0].DefineCalls, "to assign:", res.Accounts[0].AssignCalls)
	// Output:
	// assign 1 Macs [C02XK1JDJGH5]
	// left_alone 1 no rule applies [DMQX7000JF8J]
	// calls to define: 1 to assign: 1
}
