package nano_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/storage/inmem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/enroll/nano"
	"github.com/enrollkit/enrollkit/internal/plist"
)

func command(t *testing.T, uuid string) []byte {
	t.Helper()
	b, err := plist.Marshal(map[string]any{"CommandUUID": uuid, "Command": map[string]any{"RequestType": "DeviceConfigured"}})
	require.NoError(t, err)
	return b
}

// drain takes the commands of a device in order, as it does.
func drain(t *testing.T, store *inmem.InMem, id string) (uuids []string) {
	t.Helper()
	r := &mdm.Request{EnrollID: &mdm.EnrollID{Type: mdm.Device, ID: id}}
	for {
		cmd, err := store.RetrieveNextCommand(r, false)
		require.NoError(t, err)
		if cmd == nil {
			return uuids
		}
		uuids = append(uuids, cmd.CommandUUID)
		require.NoError(t, store.StoreCommandReport(r, &mdm.CommandResults{CommandUUID: cmd.CommandUUID, Status: "Acknowledged"}))
	}
}

func TestCommanderQueuesOnce(t *testing.T) {
	t.Parallel()
	store, p := inmem.New(), &phones{}
	c, err := nano.NewCommander(store, p)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, c.Enqueue(t.Context(), "D", "c1", command(t, "c1")))
	}
	assert.Zero(t, p.pushes, "whoever queues pushes")
	p.err = errors.New("APNs is down")
	require.NoError(t, c.Enqueue(t.Context(), "D", "c2", command(t, "c2")), "it is in the queue")
	require.ErrorIs(t, c.Push(t.Context(), "D"), p.err)
	assert.Equal(t, []string{"c1", "c2"}, drain(t, store, "D"))
	require.NoError(t, c.Enqueue(t.Context(), "D", "c1", command(t, "c1")), "it was in the queue")
	assert.Empty(t, drain(t, store, "D"))
	p.err = nil
	require.Error(t, c.Push(t.Context(), "D"), "the answer for the device says so")

	require.Error(t, c.Enqueue(t.Context(), "D", "other", command(t, "c3")))
	err = c.Enqueue(t.Context(), "D", "c4", []byte("<plist><secret"))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
	_, err = nano.NewCommander(nil, p)
	require.Error(t, err)
	_, err = nano.NewCommander(store, nil)
	require.Error(t, err)
}

// answering is a queue with one answer.
type answering struct {
	failed map[string]error
	err    error
}

func (a answering) EnqueueCommand(context.Context, []string, *mdm.Command) (map[string]error, error) {
	return a.failed, a.err
}

func TestCommanderReadsTheAnswersOfBackends(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tc := range []struct {
		name   string
		answer answering
		want   error
	}{
		{"kv duplicate", answering{err: errors.New("command already exists: c1")}, nil},
		{"MySQL duplicate", answering{err: errors.New("Error 1062 (23000): Duplicate entry 'c1' for key 'PRIMARY'")}, nil},
		{"PostgreSQL duplicate", answering{err: errors.New(`pq: duplicate key value violates unique constraint "commands_pkey"`)}, nil},
		{"failure", answering{err: broken}, broken},
		{"failure of the device", answering{failed: map[string]error{"c1": fmt.Errorf("enqueue: %w", broken)}}, broken},
		{"no failure of the device", answering{failed: map[string]error{"D": nil}}, nil},
	} {
		c, err := nano.NewCommander(tc.answer, &phones{})
		require.NoError(t, err)
		require.ErrorIs(t, c.Enqueue(t.Context(), "D", "c1", command(t, "c1")), tc.want, tc.name)
	}
}

const many = 200

// inParallel calls f many times at once, each time with a command of its own.
func inParallel(t *testing.T, f func(cmd *mdm.Command) error) *sync.WaitGroup {
	t.Helper()
	start, wg := make(chan struct{}), &sync.WaitGroup{}
	for i := range many {
		uuid := fmt.Sprintf("c%d", i)
		cmd, err := mdm.DecodeCommand(command(t, uuid))
		require.NoError(t, err)
		wg.Go(func() {
			<-start
			assert.NoError(t, f(cmd))
		})
	}
	close(start)
	return wg
}

// TestCommanderLosesNothing queues from many sides into a store that takes one command at a time.
func TestCommanderLosesNothing(t *testing.T) {
	t.Parallel()
	store := inmem.New()
	c, err := nano.NewCommander(store, &phones{})
	require.NoError(t, err)
	inParallel(t, func(cmd *mdm.Command) error {
		return c.Enqueue(t.Context(), "D", cmd.CommandUUID, cmd.Raw)
	}).Wait()
	assert.Len(t, drain(t, store, "D"), many)
}

// TestSerializeLosesNothing queues from many sides while the device takes commands.
func TestSerializeLosesNothing(t *testing.T) {
	t.Parallel()
	store := inmem.New()
	serial := nano.Serialize(store)
	r := &mdm.Request{EnrollID: &mdm.EnrollID{Type: mdm.Device, ID: "D"}}
	wg := inParallel(t, func(cmd *mdm.Command) error {
		_, err := serial.EnqueueCommand(t.Context(), []string{"D"}, cmd)
		return err
	})
	seen := map[string]bool{}
	for range many {
		cmd, err := serial.RetrieveNextCommand(r, false)
		require.NoError(t, err)
		if cmd != nil {
			seen[cmd.CommandUUID] = true
			require.NoError(t, serial.StoreCommandReport(r, &mdm.CommandResults{CommandUUID: cmd.CommandUUID, Status: "Acknowledged"}))
		}
	}
	wg.Wait()
	for _, uuid := range drain(t, store, "D") {
		seen[uuid] = true
	}
	assert.Len(t, seen, many)

	both := &mdm.Command{CommandUUID: "both", Raw: command(t, "both")}
	_, err := serial.EnqueueCommand(t.Context(), []string{"E", "D", "E"}, both)
	require.NoError(t, err, "an enrollment named twice does not wait for itself")
	require.NoError(t, serial.ClearQueue(r))
	assert.Empty(t, drain(t, store, "D"))
}

// TestSerializeTakesARepeatedAnswer has a device repeat its answer, which makes the bare storage forget the others.
func TestSerializeTakesARepeatedAnswer(t *testing.T) {
	t.Parallel()
	store := nano.Serialize(inmem.New())
	r := &mdm.Request{EnrollID: &mdm.EnrollID{Type: mdm.Device, ID: "D"}}
	for _, uuid := range []string{"1", "2", "3"} {
		_, err := store.EnqueueCommand(t.Context(), []string{"D"}, &mdm.Command{CommandUUID: uuid, Raw: command(t, uuid)})
		require.NoError(t, err)
	}
	answer := func(uuid, status string) {
		require.NoError(t, store.StoreCommandReport(r, &mdm.CommandResults{CommandUUID: uuid, Status: status}))
	}
	next := func() string {
		cmd, err := store.RetrieveNextCommand(r, false)
		require.NoError(t, err)
		if cmd == nil {
			return ""
		}
		return cmd.CommandUUID
	}
	answer("1", "Acknowledged")
	answer("1", "Acknowledged")
	assert.Equal(t, "2", next())
	answer("2", "NotNow")
	answer("2", "NotNow")
	assert.Equal(t, "2", next(), "a command that cannot be done now stays")
	answer("2", "Error")
	answer("2", "Error")
	assert.Equal(t, "3", next())
	answer("3", "Acknowledged")
	assert.Empty(t, next())

	require.NoError(t, store.ClearQueue(r))
	answer("3", "Acknowledged")
	assert.Empty(t, next(), "a new enrollment begins with nothing answered")
}
