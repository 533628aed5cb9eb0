package axm

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/enrollkit/enrollkit/internal/retry"
	"github.com/enrollkit/enrollkit/internal/webapi"
)

const (
	// maxResults limits the file with the results of an activity.
	maxResults = 16 << 20
	// maxRows and maxColumns limit what is kept of it.
	maxRows    = 100_000
	maxColumns = 64
)

// DeviceResult is what an activity did to one device.
type DeviceResult struct {
	Serial string
	// Status is the column of that kind, upper case: UPDATED says in the portal's log files that it went well.
	Status string
	// Message is the column that says why, if there is one.
	Message string
	// Fields are all columns by their names.
	Fields map[string]string
}

// Failed reports whether the row says that nothing was done. Apple documents neither columns nor words of the file; these are
// the words of the portal's log files, and what ends like them. A row with other words is no failure: see for yourself.
//
// Apple: https://support.apple.com/guide/apple-business-manager/apddc1fec242
func (r DeviceResult) Failed() bool {
	for _, w := range []string{"FAIL", "ERROR", "INVALID", "NOT_FOUND", "NOT_ALLOWED", "NOT_ENOUGH", "CONFLICT", "UNAVAILABLE"} {
		if strings.Contains(r.Status, w) {
			return true
		}
	}
	return false
}

// ActivityResults downloads what an activity did to each device. Apple keeps the file elsewhere, under a URL that is good for
// a short time: look at the activity again to get a new one. The access token is not sent there.
// It returns [ErrNoResults] when the activity has no URL, and [ErrBadResponse] for a file without serial numbers.
//
// The file is for people. What counts is [Client.AssignedServer].
func (c *Client) ActivityResults(ctx context.Context, a *Activity) ([]DeviceResult, error) {
	const op = "ActivityResults"
	if a.DownloadURL == "" {
		return nil, ErrNoResults
	}
	u, err := url.Parse(a.DownloadURL)
	// Plain http is for simulators that are spoken to so anyway.
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || c.base.Scheme != "http") {
		return nil, badResponse(op, http.StatusOK, nil, errors.New("unusable download URL"))
	}
	var results []DeviceResult
	err = c.retry(ctx, call{op: op}, func() error {
		body, err := c.download(ctx, op, u)
		if err != nil {
			return err
		}
		if results, err = parseResults(body); err != nil {
			return badResponse(op, http.StatusOK, nil, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (c *Client) download(parent context.Context, op string, u *url.URL) ([]byte, error) {
	ctx, cancel := context.WithTimeout(parent, c.s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("axm: %s: cannot make the request", op) // the error quotes the URL
	}
	req.Header.Set("User-Agent", c.s.userAgent)
	resp, err := c.http.Do(req) //nolint:bodyclose // Drain closes it
	if err != nil {
		return nil, transportError(parent, op, err)
	}
	defer webapi.Drain(resp.Body)
	body, err := readBody(resp, maxResults)
	switch {
	case err != nil:
		return nil, transportError(parent, op, err)
	case resp.StatusCode != http.StatusOK:
		return nil, newAPIError(op, resp.StatusCode, nil, retry.After(resp.Header, c.s.now()))
	case len(body) > maxResults:
		return nil, badResponse(op, resp.StatusCode, nil, errors.New("body too large"))
	}
	return body, nil
}

// parseResults reads the file. It finds the columns by what their names contain, as Apple does not document them, and passes
// over lines before the one that names them.
func parseResults(body []byte) ([]DeviceResult, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xEF\xBB\xBF"))))
	r.FieldsPerRecord, r.LazyQuotes, r.TrimLeadingSpace, r.ReuseRecord = -1, true, true, true
	var head []string
	serial, status, message := -1, -1, -1
	out := []DeviceResult{}
	for {
		row, err := r.Read()
		switch {
		case errors.Is(err, io.EOF) && head == nil:
			return nil, errors.New("no column with serial numbers")
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, errors.New("not CSV") // the error may quote
		case len(row) > maxColumns:
			return nil, errors.New("too many columns")
		}
		if head == nil {
			if serial = column(row, "serial"); serial < 0 {
				continue
			}
			head = append([]string(nil), row...)
			for i := range head {
				head[i] = strings.TrimSpace(head[i])
			}
			status = column(row, "status", "result", "outcome")
			message = column(row, "message", "reason", "error", "description")
			continue
		}
		if serial >= len(row) || strings.TrimSpace(row[serial]) == "" || len(row[serial]) > maxID {
			continue
		}
		if len(out) == maxRows {
			return nil, errors.New("too many rows")
		}
		out = append(out, newResult(head, row, serial, status, message))
	}
}

func newResult(head, row []string, serial, status, message int) DeviceResult {
	at := func(i int) string {
		if i < 0 || i >= len(row) {
			return ""
		}
		return strings.ToValidUTF8(strings.TrimSpace(row[i]), "\uFFFD")
	}
	res := DeviceResult{Serial: at(serial), Message: at(message), Fields: make(map[string]string, len(head))}
	if status < 0 {
		status = message // the portal's log files have the word in the message
	}
	res.Status = strings.ToUpper(strings.Join(strings.Fields(at(status)), "_"))
	for i, name := range head {
		res.Fields[name] = at(i)
	}
	return res
}

// column returns the first column whose name contains one of the words, the words in order of preference; -1 if none does.
func column(row []string, words ...string) int {
	for _, w := range words {
		for i, name := range row {
			if strings.Contains(strings.ToLower(name), w) {
				return i
			}
		}
	}
	return -1
}
