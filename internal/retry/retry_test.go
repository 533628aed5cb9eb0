package retry

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		header, date string
		want         time.Duration
	}{
		{"", "", 0},
		{"90", "", 90 * time.Second},
		{"-1", "", 0},
		{"soon", "", 0},
		{"99999999999999", "", 24 * time.Hour},
		{"Tue, 01 Sep 2026 12:02:00 GMT", "", 2 * time.Minute},
		{"Tue, 01 Sep 2026 11:00:00 GMT", "", 0},
		{"Tue, 01 Sep 2027 11:00:00 GMT", "", 24 * time.Hour},
		{"Tue, 01 Sep 2026 11:02:00 GMT", "Tue, 01 Sep 2026 11:00:00 GMT", 2 * time.Minute},
		{"Tue, 01 Sep 2026 12:02:00 GMT", "no date", 2 * time.Minute},
		{"90", "Tue, 01 Sep 2026 11:00:00 GMT", 90 * time.Second},
	} {
		h := http.Header{"Retry-After": {tt.header}, "Date": {tt.date}}
		assert.Equal(t, tt.want, After(h, now), "%+v", tt)
	}
	assert.Zero(t, After(http.Header{}, now))
}

func TestHinted(t *testing.T) {
	t.Parallel()
	h := &Hinted{BackOff: backoff.NewConstantBackOff(time.Second), Longest: time.Minute}
	assert.Equal(t, time.Second, h.NextBackOff())
	h.Hint = 30 * time.Second
	assert.Equal(t, 30*time.Second, h.NextBackOff())
	h.Left = func() time.Duration { return 29 * time.Second }
	assert.Equal(t, backoff.Stop, h.NextBackOff())
	h.Left, h.Hint = nil, 61*time.Second
	assert.Equal(t, backoff.Stop, h.NextBackOff())
	h.BackOff, h.Hint = &backoff.StopBackOff{}, 0
	assert.Equal(t, backoff.Stop, h.NextBackOff())
}

func TestExponential(t *testing.T) {
	t.Parallel()
	b := Exponential(func() time.Time { return time.Time{} }, time.Second, 4*time.Second)
	for i, want := range []time.Duration{1, 2, 4, 4, 4} {
		assert.InDelta(t, want*time.Second, b.NextBackOff(), float64(want*time.Second)/2+1, i)
	}
}

func TestNotDialed(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	assert.True(t, NotDialed(fmt.Errorf("x: %w", dial)))
	assert.False(t, NotDialed(&net.OpError{Op: "read", Err: errors.New("reset")}))
	assert.False(t, NotDialed(errors.New("dial")))
}
