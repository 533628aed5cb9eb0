package nano_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/enroll/nano"
	"github.com/enrollkit/enrollkit/internal/plist"
	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// core stands for NanoMDM's service: it names the enrollment unless told not to, and fails when told to.
type core struct {
	service.NopService
	err     error
	unnamed bool
}

func (c core) name(r *mdm.Request, e *mdm.Enrollment) error {
	if rs := e.Resolved(); rs != nil && !c.unnamed {
		r.EnrollID = &mdm.EnrollID{Type: rs.Type, ID: rs.DeviceChannelID}
		if rs.IsUserChannel {
			r.ID, r.ParentID = rs.DeviceChannelID+":"+rs.UserChannelID, rs.DeviceChannelID
		}
	}
	return c.err
}

func (c core) Authenticate(r *mdm.Request, m *mdm.Authenticate) error {
	return c.name(r, &m.Enrollment)
}
func (c core) TokenUpdate(r *mdm.Request, m *mdm.TokenUpdate) error { return c.name(r, &m.Enrollment) }
func (c core) CheckOut(r *mdm.Request, m *mdm.CheckOut) error       { return c.name(r, &m.Enrollment) }

func (c core) SetBootstrapToken(r *mdm.Request, m *mdm.SetBootstrapToken) error {
	return c.name(r, &m.Enrollment)
}

func (c core) GetBootstrapToken(r *mdm.Request, m *mdm.GetBootstrapToken) (*mdm.BootstrapToken, error) {
	return &mdm.BootstrapToken{}, c.name(r, &m.Enrollment)
}

func (c core) CommandAndReportResults(r *mdm.Request, m *mdm.CommandResults) (*mdm.Command, error) {
	return &mdm.Command{CommandUUID: "next"}, c.name(r, &m.Enrollment)
}

type heard struct {
	events []setupexp.Event
	err    error
}

func (h *heard) Observe(_ context.Context, ev setupexp.Event) error {
	h.events = append(h.events, ev)
	return h.err
}

func wrap(t *testing.T, c core, opts ...enroll.CheckInOption) (*nano.Service, *memory.Store, *heard) {
	t.Helper()
	store, h := memory.New(), &heard{}
	keys, err := enroll.NewSessionKeys(make([]byte, 32))
	require.NoError(t, err)
	ci, err := enroll.NewCheckIns(store, keys, append([]enroll.CheckInOption{enroll.WithObserver(h)}, opts...)...)
	require.NoError(t, err)
	s, err := nano.Wrap(&c, ci)
	require.NoError(t, err)
	return s, store, h
}

func request(t *testing.T) *mdm.Request {
	return mdm.NewRequestWithContext(t.Context(), &x509.Certificate{Raw: []byte("certificate")})
}

// send lets NanoMDM's own code decode the message and dispatch it.
func send(t *testing.T, s service.CheckinAndCommandService, r *mdm.Request, keys map[string]any) error {
	t.Helper()
	raw, err := plist.Marshal(keys)
	require.NoError(t, err)
	if keys["MessageType"] == nil {
		_, err = service.CommandAndReportResultsRequest(s, r, raw)
	} else {
		_, err = service.CheckinRequest(s, r, raw)
	}
	return err
}

func TestServiceDecodesWhatNanoMDMLeavesOut(t *testing.T) {
	t.Parallel()
	s, store, h := wrap(t, core{}, enroll.WithoutSessionCheck())
	for _, m := range []map[string]any{
		{"MessageType": "Authenticate", "UDID": "U", "SerialNumber": "S", "OSVersion": "26.1", "ProductName": "Mac15,12", "Topic": "t"},
		{"MessageType": "TokenUpdate", "UDID": "U", "Topic": "t", "AwaitingConfiguration": true},
		{"MessageType": "SetBootstrapToken", "UDID": "U", "AwaitingConfiguration": true, "BootstrapToken": []byte("t")},
		{"MessageType": "GetBootstrapToken", "UDID": "U", "AwaitingConfiguration": false},
		{"UDID": "U", "Status": "Idle"},
		{"UDID": "U", "Status": "Error", "CommandUUID": "c1", "ErrorChain": []map[string]any{
			{"ErrorCode": 101, "ErrorDomain": "MDMDeviceEnrollment", "LocalizedDescription": "nein", "USEnglishDescription": "no"}}},
		{"MessageType": "CheckOut", "UDID": "U", "Topic": "t"},
	} {
		require.NoError(t, send(t, s, request(t), m))
	}
	e, err := store.GetEnrollment(t.Context(), "U")
	require.NoError(t, err)
	assert.Equal(t, []string{"S", "26.1", "Mac15,12"}, []string{e.Serial, e.OSVersion, e.Product})
	assert.Equal(t, storage.AwaitingFalse, e.Awaiting)
	assert.Equal(t, storage.EnrollmentUnenrolled, e.State)
	var bodies []setupexp.EventBody
	for _, ev := range h.events {
		bodies = append(bodies, ev.Body)
	}
	require.Len(t, bodies, 7)
	result := bodies[5].(setupexp.CommandResult)
	assert.NotEmpty(t, result.Raw)
	result.Raw = nil
	bodies[5] = result
	assert.Equal(t, []setupexp.EventBody{
		setupexp.Authenticated{},
		setupexp.AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "TokenUpdate"},
		setupexp.AwaitingSeen{Awaiting: storage.AwaitingTrue, Source: "SetBootstrapToken"},
		setupexp.AwaitingSeen{Awaiting: storage.AwaitingFalse, Source: "GetBootstrapToken"},
		setupexp.DeviceContact{Kind: "Idle"},
		setupexp.CommandResult{CommandUUID: "c1", Status: setupexp.StatusError, Errors: []setupexp.CommandError{
			{Code: 101, Domain: "MDMDeviceEnrollment", Description: "no"}}},
		setupexp.CheckedOut{},
	}, bodies)
}

func TestServiceIgnoresUserChannels(t *testing.T) {
	t.Parallel()
	s, store, h := wrap(t, core{}, enroll.WithoutSessionCheck())
	require.NoError(t, send(t, s, request(t), map[string]any{
		"MessageType": "TokenUpdate", "UDID": "U", "UserID": "X", "Topic": "t", "AwaitingConfiguration": true,
	}))
	_, err := store.GetEnrollment(t.Context(), "U")
	require.ErrorIs(t, err, storage.ErrNotFound)
	assert.Empty(t, h.events)
}

func TestServiceTellsOnlyWhatNanoMDMTook(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	s, store, h := wrap(t, core{err: refused}, enroll.WithoutSessionCheck())
	for _, m := range []map[string]any{
		{"MessageType": "Authenticate", "UDID": "U"}, {"MessageType": "TokenUpdate", "UDID": "U"}, {"MessageType": "CheckOut", "UDID": "U"},
		{"MessageType": "SetBootstrapToken", "UDID": "U"}, {"MessageType": "GetBootstrapToken", "UDID": "U"}, {"UDID": "U", "Status": "Idle"},
	} {
		require.ErrorIs(t, send(t, s, request(t), m), refused)
	}
	_, err := store.GetEnrollment(t.Context(), "U")
	require.ErrorIs(t, err, storage.ErrNotFound)
	assert.Empty(t, h.events)
}

func TestServiceFailsWhatIsNotStored(t *testing.T) {
	t.Parallel()
	s, _, h := wrap(t, core{}, enroll.WithoutSessionCheck())
	require.NoError(t, send(t, s, request(t), map[string]any{"MessageType": "Authenticate", "UDID": "U"}))
	h.err = errors.New("down")
	require.ErrorIs(t, send(t, s, request(t), map[string]any{"MessageType": "TokenUpdate", "UDID": "U"}), h.err)
	raw, err := plist.Marshal(map[string]any{"UDID": "U", "Status": "Idle"})
	require.NoError(t, err)
	results, err := mdm.DecodeCommandResults(raw)
	require.NoError(t, err)
	cmd, err := s.CommandAndReportResults(request(t), results)
	require.ErrorIs(t, err, h.err)
	assert.Nil(t, cmd, "the next command stays in the queue")
}

func TestServiceWithoutAnEnrollmentID(t *testing.T) {
	t.Parallel()
	s, store, _ := wrap(t, core{unnamed: true}, enroll.WithoutSessionCheck())
	require.NoError(t, send(t, s, request(t), map[string]any{"MessageType": "TokenUpdate", "Topic": "t"}))
	r := mdm.NewRequestWithContext(t.Context(), nil)
	require.NoError(t, send(t, s, r, map[string]any{"MessageType": "TokenUpdate", "UDID": "U", "Topic": "t"}))
	_, err := store.GetEnrollment(t.Context(), "U")
	require.NoError(t, err, "the message names the device itself")
}

func forbidden(t *testing.T, err error) {
	t.Helper()
	var se *service.HTTPStatusError
	require.ErrorAs(t, err, &se)
	assert.Equal(t, http.StatusForbidden, se.Status)
}

// TestServiceAsksFirst sends every message there is without a session; NanoMDM's service must not see any.
func TestServiceAsksFirst(t *testing.T) {
	t.Parallel()
	s, _, _ := wrap(t, core{err: errors.New("NanoMDM was asked")})
	for _, m := range []map[string]any{
		{"MessageType": "Authenticate"}, {"MessageType": "TokenUpdate"}, {"MessageType": "CheckOut"}, {"MessageType": "SetBootstrapToken"},
		{"MessageType": "GetBootstrapToken"}, {"MessageType": "UserAuthenticate", "UserID": "X"}, {"MessageType": "GetToken", "TokenServiceType": "com.apple.maid"},
		{"MessageType": "DeclarativeManagement", "Endpoint": "tokens"}, {"Status": "Idle"}, {"Status": "Idle", "UserID": "X"},
	} {
		m["UDID"] = "U"
		forbidden(t, send(t, s, request(t), m))
	}
	_, err := nano.Wrap(nil, nil)
	require.Error(t, err)
}

// TestServiceTakesOddResults has values of other types where they are not expected: NanoMDM has taken the message, and
// refusing it would have the device repeat it for ever.
func TestServiceTakesOddResults(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]map[string]any{
		"answers are an array":  {"QueryResponses": []string{"x"}},
		"awaiting is a number":  {"QueryResponses": map[string]any{"AwaitingConfiguration": 1}},
		"version is a dict":     {"OSVersion": map[string]any{}},
		"awaiting is text":      {"AwaitingConfiguration": "yes"},
		"serial is an array":    {"SerialNumber": []string{"S"}},
		"message type a number": {"MessageType": 1},
	} {
		s, store, h := wrap(t, core{}, enroll.WithoutSessionCheck())
		m["UDID"], m["Status"], m["CommandUUID"] = "D", "Acknowledged", "c1"
		raw, err := plist.Marshal(m)
		require.NoError(t, err)
		_, err = service.CommandAndReportResultsRequest(s, request(t), raw)
		require.NoError(t, err, name)
		e, err := store.GetEnrollment(t.Context(), "D")
		require.NoError(t, err, name)
		assert.Equal(t, storage.AwaitingUnknown, e.Awaiting, name)
		require.Len(t, h.events, 1, name)
		assert.Equal(t, "command_result", h.events[0].Body.EventKind(), name)
	}
	logger, logs := observer.New(zap.WarnLevel)
	store := memory.New()
	logged, err := nano.Wrap(&core{}, mustCheckIns(t, store), nano.WithLogger(zap.New(logger)))
	require.NoError(t, err)
	_, err = logged.CommandAndReportResults(request(t), &mdm.CommandResults{
		Enrollment: mdm.Enrollment{UDID: "E"}, Status: "Idle", Raw: []byte("not a property list"),
	})
	require.NoError(t, err)
	_, err = store.GetEnrollment(t.Context(), "E")
	require.NoError(t, err, "a contact all the same")
	assert.Equal(t, 1, logs.Len())
	_, err = nano.Wrap(&core{}, mustCheckIns(t, store), nano.WithLogger(nil))
	require.Error(t, err)
}

func mustCheckIns(t *testing.T, store *memory.Store) *enroll.CheckIns {
	t.Helper()
	keys, err := enroll.NewSessionKeys(make([]byte, 32))
	require.NoError(t, err)
	c, err := enroll.NewCheckIns(store, keys, enroll.WithoutSessionCheck())
	require.NoError(t, err)
	return c
}
