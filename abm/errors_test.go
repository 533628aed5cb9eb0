package abm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sentinels are the errors that an answer of Apple can be, by name.
func sentinels() map[string]error {
	return map[string]error{
		"ErrUnauthorized": ErrUnauthorized, "ErrForbidden": ErrForbidden, "ErrAccessDenied": ErrAccessDenied,
		"ErrTermsNotSigned": ErrTermsNotSigned, "ErrCursorExpired": ErrCursorExpired, "ErrCursorInvalid": ErrCursorInvalid,
		"ErrCursorExhausted": ErrCursorExhausted, "ErrProfileNotFound": ErrProfileNotFound, "ErrProfileRefused": ErrProfileRefused,
		"ErrNotFound": ErrNotFound, "ErrSeedingOff": ErrSeedingOff, "ErrOrgNotSupported": ErrOrgNotSupported,
		"ErrBadRequest": ErrBadRequest, "ErrRateLimited": ErrRateLimited, "ErrUnavailable": ErrUnavailable,
		"ErrBadResponse": ErrBadResponse, "ErrMalformedBody": ErrMalformedBody, "ErrUserAgentMissing": ErrUserAgentMissing,
		"ErrUserAgentInvalid": ErrUserAgentInvalid, "ErrCursorRequired": ErrCursorRequired,
		"ErrDeviceIDRequired": ErrDeviceIDRequired, "ErrProfileUUIDRequired": ErrProfileUUIDRequired,
		"ErrDeviceNotFound": ErrDeviceNotFound, "ErrDiscoveryURLRequired": ErrDiscoveryURLRequired,
		"ErrDiscoveryURLNotValid": ErrDiscoveryURLNotValid, "ErrConfigNameRequired": ErrConfigNameRequired,
		"ErrConfigNameInvalid": ErrConfigNameInvalid, "ErrConfigURLRequired": ErrConfigURLRequired,
		"ErrConfigURLInvalid": ErrConfigURLInvalid, "ErrDepartmentInvalid": ErrDepartmentInvalid,
		"ErrSupportPhoneInvalid": ErrSupportPhoneInvalid, "ErrSupportEmailInvalid": ErrSupportEmailInvalid,
		"ErrMagicInvalid": ErrMagicInvalid, "ErrFlagsInvalid": ErrFlagsInvalid, "ErrLocaleInvalid": ErrLocaleInvalid,
	}
}

// documented is one line of testdata/errors.txt.
type documented struct {
	op, code string
	status   int
	is       []string
}

func documentedErrors(t *testing.T) []documented {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "errors.txt"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	var all []documented
	own := make(map[string]bool) // what an operation documents itself
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.Fields(sc.Text())
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		require.GreaterOrEqual(t, len(w), 4, sc.Text())
		status, err := strconv.Atoi(w[1])
		require.NoError(t, err)
		all = append(all, documented{op: w[0], status: status, code: strings.Trim(w[2], "-"), is: w[3:]})
		own[w[0]+w[2]] = true
	}
	var out []documented
	for _, d := range all {
		if d.op != "*" {
			out = append(out, d)
			continue
		}
		for _, op := range operations() {
			if !own[op.name+d.code] {
				out = append(out, documented{op.name, d.code, d.status, d.is})
			}
		}
	}
	return out
}

// Every documented code of every operation, in the forms that Apple, its simulator and others send it in.
func TestDocumentedErrors(t *testing.T) {
	t.Parallel()
	ops := make(map[string]operation)
	for _, op := range operations() {
		ops[op.name] = op
	}
	ops[opSession] = ops[opAccountDetail]
	seen := make(map[string]bool)
	for _, d := range documentedErrors(t) {
		seen[d.code] = true
		t.Run(fmt.Sprintf("%s %d %s", d.op, d.status, d.code), func(t *testing.T) {
			t.Parallel()
			require.Contains(t, ops, d.op)
			var body atomic.Value
			fail := func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(d.status)
				_, _ = io.WriteString(w, body.Load().(string))
			}
			f, c := newFakeApple(t, 401, fail)
			if d.op == opSession {
				f.onLogin = fail
			}
			for _, form := range []string{"%s", "%q", " %s\r\n", `{"code":%q}`, `{"message":"NO_GOOD","code":%q}`} {
				if d.code == "" {
					form = "%s"
				}
				body.Store(fmt.Sprintf(form, d.code))
				got, err := ops[d.op].call(t.Context(), c)
				apiErr, ok := errors.AsType[*APIError](err)
				require.True(t, ok, err)
				assert.Empty(t, got)
				assert.Equal(t, d.op, apiErr.Op)
				assert.Equal(t, d.status, apiErr.StatusCode)
				assert.Equal(t, d.code, apiErr.Code, form)
				assert.Equal(t, body.Load().(string), string(apiErr.Body))
				for name, sentinel := range sentinels() {
					assert.Equal(t, slices.Contains(d.is, name), errors.Is(err, sentinel), "%s: %v", name, err)
				}
			}
		})
	}
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		assert.True(t, seen[code], "testdata/errors.txt has no line for %s", code)
	}
}

func TestCodesCountInRefusalsOnly(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 503} {
		require.ErrorIs(t, newAPIError(opFetchDevices, status, []byte("EXPIRED_CURSOR"), 0), ErrUnavailable)
		assert.NotErrorIs(t, newAPIError(opFetchDevices, status, []byte("EXPIRED_CURSOR"), 0), ErrCursorExpired)
	}
	assert.ErrorIs(t, newAPIError(opFetchDevices, 302, []byte("T_C_NOT_SIGNED"), 0), ErrBadResponse)
	assert.ErrorIs(t, newAPIError(opFetchDevices, 429, nil, 0), ErrRateLimited)
	e := newAPIError(opDefineProfile, 400, []byte(strings.Repeat("x", 5000)), 0)
	assert.ErrorIs(t, e, ErrProfileRefused)
	assert.Len(t, e.Body, maxQuotedBody)
	assert.NotContains(t, e.Error(), "xxx")
	assert.Equal(t, "abm: DefineProfile: HTTP 400 LOCALE_INVALID: locale invalid", newAPIError(opDefineProfile, 400, []byte("LOCALE_INVALID"), 0).Error())
}

// What a server quotes, of the request or else, is no code: codes get into logs.
func TestCodesAreNoSerialsOrSecrets(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"C02ABCD1Q05D", "XKCDABCDEF", `"C02ABCD1Q05D"`, `{"code":"C02ABCD1Q05D"}`, "serial C02_ABCD_1 is unknown",
		"3D5A07EC6A1B4C8FA4F0F8A1B2C3D4E5", "ZUM43PUYVYQYD1UVCCHEHJFKA4", "bad token AT_O2109279022Oe03b641f", "CS_abcdef", "AB_", "_AB",
	} {
		e := newAPIError(opAssignProfile, 400, []byte(body), 0)
		assert.Empty(t, e.Code, body)
		assert.Equal(t, "abm: AssignProfile: HTTP 400: bad request", e.Error())
	}
	for _, body := range []string{"UNKNOWN_CODE", `{"code":"UNKNOWN_CODE"}`, "<p>UNKNOWN_CODE: C02ABCD1Q05D</p>", "UNAUTHORIZED", "<p>FORBIDDEN</p>"} {
		assert.NotEmpty(t, newAPIError(opAssignProfile, 400, []byte(body), 0).Code, body)
	}
}

func FuzzErrorBody(f *testing.F) {
	for _, s := range []string{"UNAUTHORIZED", `"INVALID_CURSOR"`, `{"code":"T_C_NOT_SIGNED"}`, "<html>A_B</html>", `{"code":"<"}`, ""} {
		f.Add(s, 403)
	}
	f.Fuzz(func(t *testing.T, body string, status int) {
		e := newAPIError(opFetchDevices, status, []byte(body), 0)
		if e.Code != "" && !isCode(e.Code) {
			t.Errorf("%q is no code", e.Code)
		}
		if e.Unwrap() == nil || len(e.Body) > maxQuotedBody || !strings.HasPrefix(body, string(e.Body)) {
			t.Errorf("bad error of %q", body)
		}
	})
}
