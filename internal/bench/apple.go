package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// apple is as much of Apple's service as both sides need, and as fast as can be: it checks nothing.
type apple struct {
	pages   *pages
	latency time.Duration
}

func (a *apple) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.URL.Path != "/session" { // signing in is not what is measured
		time.Sleep(a.latency)
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF8")
	out := a.answer(r, body)
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	_, _ = w.Write(out)
}

func (a *apple) answer(r *http.Request, body []byte) []byte {
	var in struct {
		Cursor  string   `json:"cursor"`
		Devices []string `json:"devices"`
	}
	_ = json.Unmarshal(body, &in)
	switch r.URL.Path {
	case "/session":
		return []byte(`{"auth_session_token":"session"}`)
	case "/account":
		return []byte(`{"server_name":"bench","server_uuid":"0B1A"}`)
	case "/server/devices":
		n, _ := strconv.Atoi(in.Cursor)
		return a.pages.page(n)
	case "/devices/sync":
		return fmt.Appendf(nil, `{"cursor":%q,"more_to_follow":false,"fetched_until":"2026-03-03T00:00:00Z","devices":[]}`, in.Cursor)
	case "/profile":
		return []byte(`{"profile_uuid":"` + profileUUID + `","devices":{}}`)
	case "/profile/devices":
		results := strings.Join(in.Devices, `":"SUCCESS","`)
		return []byte(`{"profile_uuid":"` + profileUUID + `","devices":{"` + results + `":"SUCCESS"}}`)
	}
	return []byte(`{}`)
}

const profileUUID = "11112222333344445555"

// serverEnv makes this program the server: "devices latency". A process of its own keeps the server's memory and garbage out
// of what is measured.
const serverEnv = "BENCH_APPLE"

// serveIfAsked serves until standard input ends, if this process was started to.
func serveIfAsked() {
	spec := os.Getenv(serverEnv)
	if spec == "" {
		return
	}
	var total int
	var text string
	if _, err := fmt.Sscan(spec, &total, &text); err != nil {
		fatal(err)
	}
	latency, err := time.ParseDuration(text)
	if err != nil {
		fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		fatal(err)
	}
	srv := &http.Server{Handler: &apple{pages: newPages(total), latency: latency}, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println("http://" + l.Addr().String())
	fatal(srv.Serve(l))
}

// startApple starts the server in another process. stop ends it.
func startApple(ctx context.Context, devices int, latency time.Duration) (url string, stop func(), err error) {
	exe, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", serverEnv, devices, latency))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { _ = in.Close(); _ = cmd.Wait() }
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("server: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}
