package enrolltest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/enrollkit/enrollkit/enroll/enrolltest"
)

// A device meets a server that does not know it.
func Example() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, `{"code": "com.example.unknown", "message": "This Mac is not ours."}`)
	}))
	defer srv.Close()

	ca, err := enrolltest.NewDeviceCA() // the server would pin ca.Certificate()
	if err != nil {
		fmt.Println(err)
		return
	}
	source := enrolltest.ActivationFunc(func(context.Context, string) ([]byte, error) {
		return []byte(`{"url": "` + srv.URL + `/enroll", "await_device_configured": true}`), nil
	})
	mac, err := enrolltest.New(enrolltest.Mac, ca, source, enrolltest.WithSerial("C02ABC1234"),
		enrolltest.WithObserver(func(e enrolltest.Event) { fmt.Println(e.Serial, e.State, e.Kind) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = mac.Boot(context.Background())
	if se := new(enrolltest.SetupError); errors.As(err, &se) {
		fmt.Println(se.StatusCode, se.Message)
	}
	// Output:
	// C02ABC1234 activating state
	// C02ABC1234 activating activation
	// C02ABC1234 remote_management state
	// C02ABC1234 remote_management machine_info
	// C02ABC1234 failed state
	// 403 This Mac is not ours.
}
