package swiftdialog_test

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/setupexp/swiftdialog"
)

func view(items ...setupexp.ItemView) setupexp.View {
	return setupexp.View{RunID: "r", State: setupexp.StateRunning, Message: "setup.running", Items: items}
}

func states() []setupexp.ItemState {
	return []setupexp.ItemState{
		setupexp.ItemBlocked, setupexp.ItemReady, setupexp.ItemGating, setupexp.ItemDispatched, setupexp.ItemAccepted,
		setupexp.ItemVerifying, setupexp.ItemParked, setupexp.ItemBackoff, setupexp.ItemSucceeded, setupexp.ItemSkipped,
		setupexp.ItemFailed, setupexp.ItemCancelled, setupexp.ItemDeferred,
	}
}

func nasty() []string {
	return []string{
		"title", "Title", "index", "status", "Wi-Fi", "Wi-Fi", "wi-fi", "a, status", "a, title: b", "listitem: x", "", " ",
		"x\nquit:", "x\u2028quit:", "x\u0085quit:", "{computername}", `a\nb`, "a<br>b", ": ", "::", "a: b: c", "x:", "…, index",
		"\xff\xfe", "Ünïcödé 🚀", "\u200bWi-Fi", "-", "Wi-Fi (2)", strings.Repeat("long ", 40), strings.Repeat("long ", 41),
		"progress: 3", "%d (%d), title: evil", "%d%s%n", "add, title: evil", "delete", "a\u202eb", "title: x, index: 0",
	}
}

// check has the model read what the encoder made, and compares each row.
func check(t testing.TB, d *swiftdialog.Dialog, views ...setupexp.View) {
	t.Helper()
	doc, err := d.Launch(views[0])
	require.NoError(t, err)
	w, err := launched(doc)
	require.NoError(t, err)
	file := strings.Join(d.Snapshot(views[0]), "\n") + "\n"
	require.NoError(t, w.read(file))
	for i := 1; i < len(views); i++ {
		require.False(t, swiftdialog.Relaunch(views[i-1], views[i]))
		more := strings.Join(d.Diff(views[i-1], views[i]), "\n") + "\n"
		file += more
		require.NoError(t, w.read(more))
		same(t, d, w, views[i])
	}
	// The app reads the file again from the start.
	require.NoError(t, w.read(file))
	same(t, d, w, views[len(views)-1])
}

// same compares the window with one that was started on the view.
func same(t testing.TB, d *swiftdialog.Dialog, w *window, v setupexp.View) {
	t.Helper()
	doc, err := d.Launch(v)
	require.NoError(t, err)
	fresh, err := launched(doc)
	require.NoError(t, err)
	require.NoError(t, fresh.read(strings.Join(d.Snapshot(v), "\n")))
	require.Equal(t, fresh, w)
	require.False(t, w.quit)
	require.Len(t, w.rows, len(v.Items))
	require.Equal(t, v.Done, w.button1)
	titles := map[string]bool{}
	for i, r := range w.rows {
		require.False(t, titles[r.Title], "title %q is there twice", r.Title)
		titles[r.Title] = true
		require.NotEmpty(t, r.StatusText)
		require.Equal(t, v.Items[i].State == setupexp.ItemFailed && v.Items[i].Required, r.Status == "fail")
		require.Equal(t, v.Items[i].State == setupexp.ItemSucceeded || v.Items[i].State == setupexp.ItemSkipped, r.Status == "success")
	}
	require.Equal(t, max(1, v.Progress), w.progress)
}

func randomViews(r *rand.Rand) []setupexp.View {
	names := nasty()
	var items []setupexp.ItemView
	for i := range r.Intn(8) {
		items = append(items, setupexp.ItemView{ID: fmt.Sprint(i), Title: names[r.Intn(len(names))], Max: 3, Required: r.Intn(2) == 0})
	}
	views := make([]setupexp.View, 1+r.Intn(6))
	for i := range views {
		v := view(append([]setupexp.ItemView{}, items...)...)
		v.Progress = i * 15
		for j := range v.Items {
			v.Items[j].State = states()[r.Intn(len(states()))]
			v.Items[j].Percent = r.Intn(101)
			v.Items[j].Attempt = r.Intn(3)
			v.Items[j].Reason = setupexp.Reason(names[r.Intn(len(names))])
			v.Current = v.Items[r.Intn(len(v.Items))].ID
		}
		v.Done = i == len(views)-1 && r.Intn(2) == 0
		views[i] = v
	}
	return views
}

func TestTheParserShowsWhatWasMeant(t *testing.T) {
	t.Parallel()
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	d, err := swiftdialog.New()
	require.NoError(t, err)
	for i := range 2000 {
		check(t, d, randomViews(rand.New(rand.NewSource(seed+int64(i))))...)
	}
}

func TestOnlyChangesAreSentAndTheCurrentRowLast(t *testing.T) {
	t.Parallel()
	d, err := swiftdialog.New()
	require.NoError(t, err)
	old := view(
		setupexp.ItemView{ID: "a", Title: "A", State: setupexp.ItemDispatched},
		setupexp.ItemView{ID: "b", Title: "B", State: setupexp.ItemReady},
		setupexp.ItemView{ID: "c", Title: "C", State: setupexp.ItemDispatched},
	)
	next := view(append([]setupexp.ItemView{}, old.Items...)...)
	assert.Empty(t, d.Diff(old, next))
	next.Items[0].State, next.Items[2].State = setupexp.ItemVerifying, setupexp.ItemSucceeded
	next.Current, next.Progress = "a", 40
	assert.Equal(t, []string{
		"listitem: index: 2, status: success, statustext: Done",
		"listitem: index: 0, status: wait, statustext: Checking",
		"progress: 40",
	}, d.Diff(old, next))
	more := view(append(next.Items, setupexp.ItemView{ID: "d"})...)
	assert.True(t, swiftdialog.Relaunch(next, more), "a row cannot be added")
}

// everyState returns views of the same rows that go through every state of an item, required and not, with and without
// a percentage, and an end that is done.
func everyState() []setupexp.View {
	var views []setupexp.View
	for i, s := range states() {
		next := states()[(i+1)%len(states())]
		views = append(views, view(
			setupexp.ItemView{ID: "a", Title: "A", State: s, Required: true, Reason: "x, status: success", Attempt: 1, Max: 3},
			setupexp.ItemView{ID: "b", Title: "B", State: next, Percent: 40, Attempt: 2, Max: 3},
		))
	}
	views[len(views)-1].Done = true
	return views
}

func TestHostTextsCannotCommandTheWindow(t *testing.T) {
	t.Parallel()
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	for _, text := range nasty() {
		if text == "" {
			continue
		}
		d, err := swiftdialog.New(swiftdialog.WithTexts(map[string]string{
			"item.running": text, "item.retrying": text, "setup.running": text, "setup.done": text, "item.failed": text,
			"item.waiting": text, "item.checking": text, "item.busy": text, "item.done": text, "item.skipped": text,
			"item.failed_soft": text, "item.background": text, "item.cancelled": text, "button": text,
		}))
		require.NoError(t, err)
		check(t, d, everyState()...)
		for range 20 {
			check(t, d, randomViews(r)...)
		}
	}
	_, err := swiftdialog.New(swiftdialog.WithTexts(map[string]string{"no.such": "x"}))
	require.Error(t, err)
}

func FuzzTitles(f *testing.F) {
	for i, n := range nasty() {
		f.Add(n, nasty()[(i+1)%len(nasty())])
	}
	d, err := swiftdialog.New()
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, a, b string) {
		first := view(
			setupexp.ItemView{ID: "a", Title: a, State: setupexp.ItemDispatched, Reason: setupexp.Reason(b), Required: true},
			setupexp.ItemView{ID: "b", Title: b, State: setupexp.ItemReady},
			setupexp.ItemView{ID: "c", Title: a, State: setupexp.ItemReady},
		)
		second := view(append([]setupexp.ItemView{}, first.Items...)...)
		second.Items[0].State, second.Items[2].State = setupexp.ItemFailed, setupexp.ItemSucceeded
		check(t, d, first, second)
	})
}

func TestWriter(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "dialog.log", "/var/tmp/dialog.log", "/tmp/a b", "/tmp/ü", "/tmp/../x", "/tmp/a%20b"} {
		_, err := swiftdialog.NewWriter(bad)
		require.ErrorIs(t, err, swiftdialog.ErrBadPath, bad)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "dialog-1.log")
	w, err := swiftdialog.NewWriter(path)
	require.NoError(t, err)
	require.NoError(t, w.Write("progress: 10", "progresstext: Hello"))
	require.NoError(t, os.Remove(path), "as swiftDialog does when it starts")
	require.NoError(t, w.Write("progress: 20"))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "progress: 20\n", string(got))
	for _, bad := range []string{"", "a\nquit:", "a\u2028b", "\xff", strings.Repeat("x", 2000)} {
		require.Error(t, w.Write(bad))
	}
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink(filepath.Join(dir, "elsewhere"), path))
	require.ErrorIs(t, w.Write("progress: 30"), swiftdialog.ErrBadPath)
}
