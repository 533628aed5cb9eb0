package nano_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage/inmem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/enroll/nano"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// TestNobodyTakesOverADevice has somebody with another certificate of the same authority enroll as a victim's UDID, which
// would bring them the victim's commands. It holds on either side of certauth; the device stays in on the right side only.
func TestNobodyTakesOverADevice(t *testing.T) {
	t.Parallel()
	for _, outside := range []bool{true, false} {
		queue, store := nano.Serialize(inmem.New()), memory.New()
		keys, err := enroll.NewSessionKeys([]byte("0123456789abcdef0123456789abcdef"))
		require.NoError(t, err)
		commander, err := nano.NewCommander(queue, &phones{})
		require.NoError(t, err)
		h := &heard{}
		checkIns, err := enroll.NewCheckIns(store, keys, enroll.WithObserver(h))
		require.NoError(t, err)
		var s service.CheckinAndCommandService
		if outside {
			s, err = nano.Wrap(certauth.New(nanomdm.New(queue), queue), checkIns)
		} else {
			s, err = nano.Wrap(nanomdm.New(queue), checkIns)
			s = certauth.New(s, queue)
		}
		require.NoError(t, err)
		from := func(certificate, token string) *mdm.Request {
			r := mdm.NewRequestWithContext(t.Context(), &x509.Certificate{Raw: []byte(certificate)})
			r.Params = map[string]string{enroll.SessionParam: token}
			return r
		}
		authenticate := map[string]any{"MessageType": "Authenticate", "UDID": "V", "SerialNumber": "VICTIM", "Topic": "t"}
		update := map[string]any{
			"MessageType": "TokenUpdate", "UDID": "V", "Topic": "t", "PushMagic": "m", "Token": []byte("v"), "AwaitingConfiguration": false,
		}
		idle := map[string]any{"UDID": "V", "Status": "Idle"}

		require.NoError(t, store.CreateSession(t.Context(), storage.EnrollmentSession{
			ID: "s1", Serial: "VICTIM", UDID: "V", Account: "acme", State: storage.SessionIssued, ExpiresAt: time.Now().Add(time.Hour),
		}))
		token := keys.CheckInToken("s1")
		require.NoError(t, send(t, s, from("victim", token), authenticate))
		require.NoError(t, send(t, s, from("victim", token), update))
		require.NoError(t, commander.Enqueue(t.Context(), "V", "secret", command(t, "secret")))

		forbidden(t, send(t, s, from("evil", ""), authenticate))
		update["AwaitingConfiguration"] = true
		for _, m := range []map[string]any{update, idle, {"MessageType": "GetBootstrapToken", "UDID": "V"}} {
			err := send(t, s, from("evil", ""), m)
			if outside {
				forbidden(t, err)
			}
			require.Error(t, err)
		}
		assert.Len(t, h.events, 2, "those of the victim")
		if outside {
			cmd, err := s.CommandAndReportResults(from("victim", token), &mdm.CommandResults{
				Enrollment: mdm.Enrollment{UDID: "V"}, Status: "Idle",
				Raw: []byte(`<plist><dict><key>UDID</key><string>V</string><key>Status</key><string>Idle</string></dict></plist>`),
			})
			require.NoError(t, err)
			require.NotNil(t, cmd)
			assert.Equal(t, "secret", cmd.CommandUUID)
		}
	}
}
