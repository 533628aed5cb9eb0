package abm

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bypassVectors are of Apple's kind: bytes, human form, hash. Two more are from nanodep's tests.
var bypassVectors = []struct{ raw, code, hash string }{
	{"00000000000000000000000000000000", "00000-00000-0000-0000-0000-0000", "deab860d28deb5b7121d6d8fcf0f78e1471756d1b2c566c03277c23ea8930b4f"},
	{"1ea841db5edfafe6075b5ae0d845d254", "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4", "6ab40d5eabe7218ec04182f461005600c7e3426bddd82cdb405bde9a1e0014b5"},
	{"000102030405060708090a0b0c0d0e0f", "000H4-0R40M-30F2-0918-5HR3-8F17", "c5ced1d0c51459c1a887866a5868dd3e9e6f4fc4a8c244f3f9eb9383c0f8aecb"},
	{"44ebe63375969fec2da67e87e7317946", "8LNYD-DVNKU-GYRC-E6GU-3YFD-CT86", "c1968cb4c013ea893f1922bb5c39f81e35012c0bd9ce3c01cc2a05873a2499e6"},
	{"cb84798c3ca85a674194550a2e96aed8", "TF27L-31WN1-E6FH-DMAM-52X5-NFV0", "23cf8b7873425fd8efe31dc5b6ab9c357eb98a2a59c82ea1084ca8af58cc480a"},
}

func TestBypassCode(t *testing.T) {
	t.Parallel()
	for _, v := range bypassVectors {
		raw, err := hex.DecodeString(v.raw)
		require.NoError(t, err)
		c, err := NewBypassCode(iotest.OneByteReader(bytes.NewReader(raw)))
		require.NoError(t, err)
		assert.Equal(t, raw, c[:])
		assert.Equal(t, v.code, c.Reveal())
		key, err := c.EscrowKey()
		require.NoError(t, err)
		assert.Equal(t, v.hash, key.Reveal())
		for _, form := range []string{v.code, strings.ToLower(v.code), strings.ReplaceAll(v.code, "-", "")} {
			got, err := ParseBypassCode(form)
			require.NoError(t, err, form)
			assert.Equal(t, c, got)
		}
	}
	_, err := NewBypassCode(nil)
	require.Error(t, err)
	c, err := NewBypassCode(bytes.NewReader(make([]byte, 15)))
	require.Error(t, err)
	assert.Zero(t, c)
}

func TestBypassCodeParseIsStrict(t *testing.T) {
	t.Parallel()
	const good = "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4"
	for _, bad := range []string{
		"", good[:30], good + "0", "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA8", "3UM43-PUYVY-QYD1-UVCC-HEHJ-FKAZ", "OUM43-PUYVY-QYD1-UVCC-HEHJ-FKA4",
		"3UM43PUYVY-QYD1-UVCC-HEHJ-FKA4-", "3UM43_PUYVY_QYD1_UVCC_HEHJ_FKA4", " " + good[1:], strings.Repeat("-", 31), strings.Repeat("0", 31),
		strings.Repeat("\x00", 26), strings.Repeat("é", 13),
	} {
		got, err := ParseBypassCode(bad)
		require.ErrorIs(t, err, ErrBypassCode, bad)
		assert.Zero(t, got)
		if bad != "" {
			assert.NotContains(t, err.Error(), bad)
		}
	}
}

func TestBypassCodeIsNotPrinted(t *testing.T) {
	t.Parallel()
	c, err := ParseBypassCode("3UM43-PUYVY-QYD1-UVCC-HEHJ-FKA4")
	require.NoError(t, err)
	out, err := json.Marshal(map[string]any{"c": c, "p": &c})
	require.NoError(t, err)
	for _, s := range []string{
		fmt.Sprint(c), fmt.Sprint(&c), fmt.Sprintf("%x %X %d %v %+v %#v %s %q", c, c, c, c, c, c, c, c), fmt.Sprintf("%v", struct{ C BypassCode }{c}),
		string(out), c.LogValue().String(), c.String(), c.GoString(),
	} {
		assert.Contains(t, s, redacted)
		for _, leak := range []string{"1ea841", "1EA841", "30 168", "30,168", "3UM43"} {
			assert.NotContains(t, s, leak)
		}
	}
}

// The lock is set with the hash; the simulator holds the rules for it.
func TestLockWithBypassCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	c, err := NewClient(tokenOf(w.server), w.opts...)
	require.NoError(t, err)
	page, err := c.FetchDevices(t.Context(), "", 0)
	require.NoError(t, err)
	code, err := NewBypassCode(strings.NewReader("sixteen bytes 16"))
	require.NoError(t, err)
	key, err := code.EscrowKey()
	require.NoError(t, err)
	got, err := c.ActivationLock(t.Context(), page.Devices[0].SerialNumber, key, "call us")
	require.NoError(t, err)
	assert.Equal(t, ResultSuccess, got)
	got, err = c.ActivationLock(t.Context(), page.Devices[0].SerialNumber, key, "")
	require.NoError(t, err)
	assert.Equal(t, Result("DEVICE_ALREADY_LOCKED"), got)
}

func FuzzBypassCode(f *testing.F) {
	for _, v := range bypassVectors {
		f.Add(v.code)
		f.Add(strings.ReplaceAll(v.code, "-", ""))
	}
	f.Add("3um43-PUYVY-QYD1-UVCC-HEHJ-FKAZ")
	f.Add("\x80\xff\xff\xffi}\xc3\xdeޅ\x85\x85\x85\x9a\x00\x80\xff\xff0\x80\xff\xff\xffii\xd1") // too few symbols
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseBypassCode(s)
		if err != nil {
			if c != (BypassCode{}) || !errors.Is(err, ErrBypassCode) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		again := c.Reveal()
		if strings.ReplaceAll(again, "-", "") != strings.ReplaceAll(strings.ToUpper(s), "-", "") {
			t.Errorf("%q is read as %q", s, again)
		}
		if c2, err := ParseBypassCode(again); err != nil || c2 != c {
			t.Errorf("%q does not read back", again)
		}
	})
}
