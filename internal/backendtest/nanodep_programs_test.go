package backendtest_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const nanodepModule = "github.com/micromdm/nanodep"

// nanodepPrograms builds nanodep's own depserver and depsyncer, as released, and returns the directory they are in. One
// file differs: the one that chooses a storage by name, for which nanodep has no other way to be told of ours. The go
// command replaces no files in its module cache (-overlay), so a copy of the module is built, within this module and its
// versions.
func nanodepPrograms(t *testing.T) string {
	t.Helper()
	out, err := goCommand(t, "mod", "download", nanodepModule)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("nanodep cannot be downloaded: %v\n%s", err, out)
		}
		t.Skipf("nanodep cannot be downloaded: %v\n%s", err, out)
	}
	dir, err := goCommand(t, "list", "-m", "-f", "{{.Dir}}", nanodepModule)
	require.NoError(t, err, dir)
	work := t.TempDir()
	nanodep := filepath.Join(work, "nanodep")
	require.NoError(t, os.CopyFS(nanodep, os.DirFS(strings.TrimSpace(dir))))
	copyFile(t, filepath.Join("testdata", "nanodep", "storage.go"), filepath.Join(nanodep, "cli", "storage.go"))

	modfile := filepath.Join(work, "go.mod")
	copyFile(t, "go.mod", modfile)
	copyFile(t, "go.sum", filepath.Join(work, "go.sum"))
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	for _, args := range [][]string{
		{"mod", "edit", "-replace=" + nanodepModule + "=" + nanodep, "-replace=github.com/enrollkit/enrollkit=" + root, modfile},
		append([]string{"build", "-modfile=" + modfile, "-o", work}, append(raceFlag(),
			nanodepModule+"/cmd/depserver", nanodepModule+"/cmd/depsyncer")...),
	} {
		out, err := goCommand(t, args...)
		require.NoError(t, err, out)
	}
	return work
}

// raceFlag builds the programs as this test is built: the cache then has what takes long to build.
func raceFlag() []string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return []string{"-race"}
		}
	}
	return nil
}

func goCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	return string(out), err
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, b, 0o600))
}

// depserver is nanodep's server as a process of its own.
type depserver struct{ url string }

const depserverKey = "test-api-key"

// startDepserver runs depserver until the test ends. flags choose the storage.
func startDepserver(t *testing.T, programs string, flags ...string) depserver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close()) // depserver takes an address, not a listener
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs, "depserver"), append(flags, "-listen", addr, "-api", depserverKey)...)
	var log safeBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	d := depserver{url: "http://" + addr}
	require.Eventually(t, func() bool {
		resp, err := http.Get(d.url + "/version")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, time.Minute, 20*time.Millisecond, "depserver does not answer")
	return d
}

// call makes one request to depserver and returns the body of its answer, which must be a success.
func (d depserver) call(t *testing.T, method, path string, body []byte) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, bytes.NewReader(body))
	require.NoError(t, err)
	req.SetBasicAuth("depserver", depserverKey)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s %s: %s", method, path, b)
	return b
}

// depsync runs depsyncer once and returns the serials of the devices it was told of.
func depsync(t *testing.T, programs, name string, flags ...string) map[string]bool {
	flags = append(flags, "-duration", "0", "-debug", "-debug-syncer", name)
	out, err := exec.CommandContext(t.Context(), filepath.Join(programs, "depsyncer"), flags...).CombinedOutput()
	assert.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), "error syncing")
	serials := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		if _, rest, ok := strings.Cut(line, " serial_number="); ok {
			serials[strings.Fields(rest)[0]] = true
		}
	}
	return serials
}

// safeBuffer is what a process writes to while the test reads it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.b.String())
}
