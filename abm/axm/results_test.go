package axm

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseResults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file string
		want       []DeviceResult
	}{
		{"plain", "Serial Number,Status\nS1,UPDATED\nS2,operation not allowed\n", []DeviceResult{
			{Serial: "S1", Status: "UPDATED", Fields: map[string]string{"Serial Number": "S1", "Status": "UPDATED"}},
			{Serial: "S2", Status: "OPERATION_NOT_ALLOWED", Fields: map[string]string{"Serial Number": "S2", "Status": "operation not allowed"}},
		}},
		{"other names, a mark, CRLF and quotes", "\xEF\xBB\xBF\"Device\",\"serialNumber\",\"Result\",\"Error message\"\r\nMac,\"S1\",FAILED,\"a, b\"\r\n", []DeviceResult{
			{Serial: "S1", Status: "FAILED", Message: "a, b", Fields: map[string]string{"Device": "Mac", "serialNumber": "S1", "Result": "FAILED", "Error message": "a, b"}},
		}},
		{"title lines, short and empty rows", "Activity log\nMay 1, 2026\n\nMessage,Serial\nUPDATED, S1 \nINTERNAL_ERROR\n,\n", []DeviceResult{
			{Serial: "S1", Status: "UPDATED", Message: "UPDATED", Fields: map[string]string{"Message": "UPDATED", "Serial": "S1"}},
		}},
		{"no rows", "SERIAL\n", []DeviceResult{}},
		{"serials only", "SERIAL\nS1\n", []DeviceResult{{Serial: "S1", Fields: map[string]string{"SERIAL": "S1"}}}},
	}
	for _, tt := range tests {
		got, err := parseResults([]byte(tt.file))
		require.NoError(t, err, tt.name)
		assert.Equal(t, tt.want, got, tt.name)
	}
	for _, file := range []string{
		"", "<html>no</html>", "a,b\n1,2\n", strings.Repeat("a,", maxColumns+1) + "serial\n", "serial\n" + strings.Repeat("S\n", maxRows+1),
	} {
		got, err := parseResults([]byte(file))
		require.Error(t, err)
		assert.Nil(t, got)
	}
}

func TestFailedResults(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]bool{
		"UPDATED": false, "SUCCESS": false, "": false, "INTERNAL_ERROR": true, "INVALID_INPUT": true, "OPERATION_NOT_ALLOWED": true,
		"FAILURE": true, "NOT_FOUND": true,
	} {
		assert.Equal(t, want, DeviceResult{Status: word}.Failed(), word)
	}
}

func FuzzResults(f *testing.F) {
	f.Add([]byte("Serial Number,Status\nS1,UPDATED\n"))
	f.Add([]byte("\xEF\xBB\xBF\"serialNumber\",\"Result\",\"Message\"\r\n\"S1\",FAILED,\"a, \"\"b\"\"\"\r\n"))
	f.Add([]byte("a\n\nserial;status\nx"))
	f.Fuzz(func(t *testing.T, file []byte) {
		results, err := parseResults(file)
		if err != nil {
			require.Nil(t, results)
			return
		}
		require.NotNil(t, results)
		for _, r := range results {
			require.NotEmpty(t, r.Serial)
			require.LessOrEqual(t, len(r.Fields), maxColumns)
			require.Equal(t, strings.ToUpper(r.Status), r.Status)
		}
	})
}

// The file is fetched from another host, without the token, without redirects, and its URL shows in no error.
func TestResultsAreFetchedWithoutTheToken(t *testing.T) {
	t.Parallel()
	const signed = "https://store.example.com/f?Signature=geheim"
	status, body := 200, "serial,status\nS1,UPDATED\n"
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "store.example.com", r.URL.Host)
		assert.Empty(t, r.Header.Get("Authorization"))
		w.Header().Set("Location", "https://api-business.apple.com/v1/orgDevices")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	c, err := New(testCredentials(t), WithTransport(inMemory{h}), WithTries(1, 1, 1))
	require.NoError(t, err)
	got, err := c.ActivityResults(t.Context(), &Activity{DownloadURL: signed})
	require.NoError(t, err)
	require.Len(t, got, 1)

	for _, tt := range []struct {
		status int
		body   string
		err    error
	}{{302, "", ErrBadResponse}, {403, "secret", ErrForbidden}, {503, "", ErrUnavailable}, {200, "x", ErrBadResponse}, {200, strings.Repeat(" ", maxResults+1), ErrBadResponse}} {
		status, body = tt.status, tt.body
		got, err := c.ActivityResults(t.Context(), &Activity{DownloadURL: signed})
		require.ErrorIs(t, err, tt.err)
		assert.Nil(t, got)
		assert.NotContains(t, err.Error(), "geheim")
		apiErr, ok := errors.AsType[*APIError](err)
		require.True(t, ok)
		assert.Empty(t, apiErr.Body, "it may name devices")
	}
	_, err = c.ActivityResults(t.Context(), &Activity{})
	require.ErrorIs(t, err, ErrNoResults)
	status, body = 200, "serial,status\nS1,UPDATED\n" // so that only the URL is wrong
	for _, u := range []string{"http://store.example.com/f", "file:///etc/passwd", "/f", "%", "https:///f"} {
		_, err = c.ActivityResults(t.Context(), &Activity{DownloadURL: u})
		require.ErrorIs(t, err, ErrBadResponse, u)
	}
	dead, err := New(testCredentials(t), WithTransport(deadNetwork{}), WithTries(1, 1, 1))
	require.NoError(t, err)
	_, err = dead.ActivityResults(t.Context(), &Activity{DownloadURL: signed})
	_, ok := errors.AsType[*TransportError](err)
	require.True(t, ok)
	assert.NotContains(t, err.Error(), "geheim")
}
