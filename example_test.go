package enrollkit_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// Three Macs are bought, and have our enrollment profile before anyone switches them on. Against Apple the certificate
// is uploaded, and the token downloaded, in Apple Business Manager.
func Example() {
	ctx := context.Background()
	apple, appleURL, stop := simulatedApple()
	defer stop()

	keyset, err := storage.NewKeyset() // keep it as you keep a private key
	check(err)
	sealer, err := storage.NewKeysetSealer(keyset)
	check(err)
	profile := depprofile.Default("https://mdm.example.com/mdm/sso")
	check(profile.Validate())
	everyDevice, err := abm.ForAll(profile)
	check(err)
	engine, err := abm.New(memory.New(), sealer, everyDevice)
	check(err)

	_, err = engine.Accounts().Create(ctx, "acme", appleURL)
	check(err)
	keyPair, err := engine.Accounts().CreateKeyPair(ctx, "acme")
	check(err)
	check(apple.UploadCertificate(keyPair.Certificate))
	token, err := apple.MintToken()
	check(err)
	_, err = engine.Accounts().ImportToken(ctx, "acme", token, abm.ImportOptions{})
	check(err)

	_, err = engine.SyncOnce(ctx, "acme") // Run does this every hour, and the next line when something is due
	check(err)
	_, err = engine.AssignOnce(ctx, "acme")
	check(err)

	client, err := engine.Accounts().Client(ctx, "acme")
	check(err)
	records, err := client.DeviceDetails(ctx, "C02AAAAA", "C02BBBBB", "C02CCCCC")
	check(err)
	for _, serial := range []string{"C02AAAAA", "C02BBBBB", "C02CCCCC"} {
		fmt.Println(serial, records[serial].Model, records[serial].ProfileStatus)
	}
	// Output:
	// C02AAAAA MacBook Air assigned
	// C02BBBBB MacBook Pro assigned
	// C02CCCCC Mac mini assigned
}

// simulatedApple returns the entry of our MDM server in a simulated Apple Business Manager, and where it is.
func simulatedApple() (entry *abmtest.MDMServer, url string, stop func()) {
	service, err := abmtest.NewService()
	check(err)
	entry, err = service.AddMDMServer("Example MDM")
	check(err)
	check(service.AddDevices(entry,
		abmtest.Device{SerialNumber: "C02AAAAA", Model: "MacBook Air", Family: "Mac", OS: "OSX"},
		abmtest.Device{SerialNumber: "C02BBBBB", Model: "MacBook Pro", Family: "Mac", OS: "OSX"},
		abmtest.Device{SerialNumber: "C02CCCCC", Model: "Mac mini", Family: "Mac", OS: "OSX"}))
	server := httptest.NewServer(service)
	return entry, server.URL, server.Close
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
