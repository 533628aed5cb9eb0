package nano_test

import (
	"fmt"
	"net/http"

	"github.com/micromdm/nanolib/log"
	httpmdm "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage/inmem"

	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/enroll/nano"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// Wrap goes around certauth, which goes around NanoMDM's core service.
func ExampleWrap() {
	keys, err := enroll.NewSessionKeys([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		fmt.Println(err)
		return
	}
	checkIns, err := enroll.NewCheckIns(memory.New(), keys)
	if err != nil {
		fmt.Println(err)
		return
	}
	store := nano.Serialize(inmem.New())
	wrapped, err := nano.Wrap(certauth.New(nanomdm.New(store), store), checkIns)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("PUT /mdm", httpmdm.CheckinAndCommandHandler(wrapped, log.NopLogger))
	fmt.Println("NanoMDM tells enrollkit what devices say")
	// Output: NanoMDM tells enrollkit what devices say
}
