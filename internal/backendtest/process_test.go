package backendtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/storage"
)

// Environment of a test binary that is run as another process: what to do, and on which file.
const (
	roleVariable = "ENROLLKIT_BACKENDTEST_ROLE"
	fileVariable = "ENROLLKIT_BACKENDTEST_FILE"
)

// child returns the command that runs TestChildProcess in a process of its own.
func child(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildProcess$", "-test.v")
	cmd.Env = append(os.Environ(), roleVariable+"="+role, fileVariable+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestChildProcess is what a second process does; in the first one there is nothing to do.
func TestChildProcess(t *testing.T) {
	t.Parallel()
	role := os.Getenv(roleVariable)
	if role == "" {
		t.Skip("only run by other tests")
	}
	s, db := openSQLite(t, os.Getenv(fileVariable))
	t.Cleanup(func() { _ = db.Close() })
	switch role {
	case "hammer":
		hammer(t, s)
	case "pages":
		commitPages(t, s)
	default:
		t.Fatalf("unknown role %q", role)
	}
}

const (
	hammerers   = 4   // goroutines in each process
	increments  = 50  // of each goroutine
	manyEffects = 200 // claimed by all of them
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// hammer raises one record many times and claims effects until none is left, from several goroutines.
func hammer(t *testing.T, s storage.Store) {
	ctx := t.Context()
	var wg sync.WaitGroup
	for g := range hammerers {
		wg.Go(func() {
			for range increments {
				if !assert.NoError(t, increment(ctx, s)) {
					return
				}
			}
			for {
				effects, err := s.ClaimEffects(ctx, start, time.Hour, 5)
				if !assert.NoError(t, err) || len(effects) == 0 {
					return
				}
				for _, e := range effects {
					a := storage.Activity{Kind: "claimed", Actor: e.ID, At: start.Add(time.Duration(g))}
					assert.NoError(t, s.AppendActivities(ctx, a))
					assert.NoError(t, s.FinishEffect(ctx, e.ID))
				}
			}
		})
	}
	wg.Wait()
}

// increment adds one to a record that others change too.
func increment(ctx context.Context, s storage.Store) error {
	for {
		e, err := s.GetEnrollment(ctx, "counter")
		if err != nil {
			return err
		}
		e.Generation++
		err = s.PutEnrollment(ctx, e, storage.Activity{Kind: "incremented", Actor: strconv.FormatInt(e.Generation, 10)})
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
}

func TestSQLiteTwoProcesses(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "enrollkit.db")
	s, db := openSQLite(t, path)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, s.PutEnrollment(ctx, storage.Enrollment{ID: "counter"}))
	c := storage.RunChange{Run: storage.Run{ID: "r", EnrollmentID: "counter"}}
	for i := range manyEffects {
		c.Effects = append(c.Effects, storage.Effect{ID: fmt.Sprint(i), RunID: "r", DueAt: start})
	}
	require.NoError(t, s.CommitRun(ctx, c))

	other := child(t, "hammer", path)
	require.NoError(t, other.Start())
	hammer(t, s)
	require.NoError(t, other.Wait())

	e, err := s.GetEnrollment(ctx, "counter")
	require.NoError(t, err)
	const want = 2 * hammerers * increments
	assert.EqualValues(t, want, e.Generation)
	assert.EqualValues(t, want+1, e.Version)
	seen := map[string]int{}
	eachActivity(t, s, func(a storage.Activity) { seen[a.Kind+" "+a.Actor]++ })
	assert.Len(t, seen, want+manyEffects, "every increment and every effect")
	for what, times := range seen {
		assert.Equal(t, 1, times, what)
	}
}

func eachActivity(t *testing.T, s storage.Store, fn func(storage.Activity)) {
	t.Helper()
	p := storage.Page{Limit: storage.MaxPageSize}
	for {
		acts, next, err := s.ListActivities(t.Context(), storage.ActivityFilter{}, p)
		require.NoError(t, err)
		for _, a := range acts {
			fn(a)
		}
		if p.After = next; next == "" {
			return
		}
	}
}

const (
	pageSize = 50
	kills    = 6
)

// page returns the devices, assignments and the activity of page number n, with a cursor that says so.
func page(n int, cursor storage.Cursor) storage.InventoryChange {
	cursor.Account, cursor.Value = "acme", strconv.Itoa(n)
	c := storage.InventoryChange{
		Account: "acme", Cursor: &cursor, Activities: []storage.Activity{{Kind: "page", Actor: cursor.Value}},
	}
	for i := range pageSize {
		serial := fmt.Sprintf("%06d-%03d", n, i)
		c.Devices = append(c.Devices, storage.Device{Account: "acme", Serial: serial, Document: []byte(serial)})
		c.Assignments = append(c.Assignments, storage.Assignment{Account: "acme", Serial: serial})
	}
	return c
}

// commitPages commits one page after the other, saying so on standard output, until the process is killed.
func commitPages(t *testing.T, s storage.Store) {
	ctx := t.Context()
	for {
		cursor, err := s.GetCursor(ctx, "acme")
		if !errors.Is(err, storage.ErrNotFound) {
			require.NoError(t, err)
		}
		n, _ := strconv.Atoi(cursor.Value) // 0 before the first page
		require.NoError(t, s.CommitInventory(ctx, page(n+1, cursor)))
		fmt.Println("page", n+1)
	}
}

func TestSQLiteKilled(t *testing.T) {
	t.Parallel()
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "enrollkit.db")
	s, db := openSQLite(t, path)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, s.CreateAccount(ctx, storage.Account{Name: "acme"}))

	said := 0
	for round := range kills {
		writer := child(t, "pages", path)
		out, err := writer.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, writer.Start())
		lines := bufio.NewScanner(out)
		for pages := 0; pages <= round*3 && lines.Scan(); {
			if n, err := fmt.Sscanf(lines.Text(), "page %d", &said); n == 1 && err == nil {
				pages++
			}
		}
		require.NoError(t, writer.Process.Kill())
		for lines.Scan() { // what it said before it died
			_, _ = fmt.Sscanf(lines.Text(), "page %d", &said)
		}
		require.Error(t, writer.Wait())
		checkPages(t, s, said)
	}
}

// checkPages checks that all pages up to the one the cursor names are whole, and that there is nothing else. The cursor
// is not behind what was said to be stored.
func checkPages(t *testing.T, s storage.Store, said int) {
	t.Helper()
	ctx := t.Context()
	cursor, err := s.GetCursor(ctx, "acme")
	require.NoError(t, err)
	last, err := strconv.Atoi(cursor.Value)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, last, said)
	assert.LessOrEqual(t, last, said+1, "only the page under way can be stored and not said")
	assert.EqualValues(t, last, cursor.Version)

	var devices []storage.Device
	for p := (storage.Page{Limit: storage.MaxPageSize}); ; {
		some, next, err := s.ListDevices(ctx, storage.DeviceFilter{Account: "acme"}, p)
		require.NoError(t, err)
		devices = append(devices, some...)
		if p.After = next; next == "" {
			break
		}
	}
	require.Len(t, devices, last*pageSize)
	for n := range last {
		want := page(n+1, storage.Cursor{}).Devices
		require.Equal(t, want, devices[n*pageSize:(n+1)*pageSize])
		serials := make([]string, 0, pageSize)
		for i := range want {
			serials = append(serials, want[i].Serial)
		}
		assignments, err := s.GetAssignments(ctx, "acme", serials)
		require.NoError(t, err)
		require.Len(t, assignments, pageSize)
	}
	stored := 0
	eachActivity(t, s, func(storage.Activity) { stored++ })
	assert.Equal(t, last, stored)
}
