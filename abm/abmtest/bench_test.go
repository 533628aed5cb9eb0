package abmtest

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkFetchPage reads one page of 1000 devices. The time must not grow with the number of devices.
func BenchmarkFetchPage(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := NewService(WithSeed(1))
			require.NoError(b, err)
			m, err := s.AddMDMServer("Fleet")
			require.NoError(b, err)
			require.NoError(b, s.AddDevices(m, s.RandomDevices(n)...))
			c := &call{server: m, version: newestProtocol, now: time.Now(), body: []byte(`{"limit":1000}`)}
			runtime.GC() // what building the devices left behind is not to be measured
			for b.Loop() {
				out, err := s.fetchDevices(c)
				require.NoError(b, err)
				page := out.(listResponse)
				require.Len(b, page.Devices, 1000)
				c.body = []byte(fmt.Sprintf(`{"limit":1000,"cursor":%q}`, page.Cursor))
				if !page.MoreToFollow {
					c.body = []byte(`{"limit":1000}`)
				}
			}
		})
	}
}
