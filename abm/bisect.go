package abm

import (
	"context"
	"errors"
	"maps"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/storage"
)

// maxBisect limits how many refused calls are spent on finding the serials that Apple cannot take.
const maxBisect = 24

// errNotAsked is what keeps a serial waiting that shared its calls with others that Apple refuses.
var errNotAsked = errors.New("abm: not asked yet: too many calls were refused for other serials, or they took too long")

// bisect calls f for serials, and for halves of them when Apple refuses what is in the call. It returns the serials that
// are refused alone, each with its cause, and those that it did not come to as too many calls were refused or f said
// errNotAsked. Any other error ends it.
func bisect(serials []string, f func([]string) error) (refused map[string]error, left []string, err error) {
	refused = make(map[string]error)
	budget := maxBisect
	var try func([]string) error
	try = func(part []string) error {
		if budget <= 0 {
			left = append(left, part...)
			return nil
		}
		err := f(part)
		if errors.Is(err, errNotAsked) {
			left = append(left, part...)
			return nil
		}
		if !refusesSome(err) {
			return err
		}
		budget--
		if len(part) == 1 {
			refused[part[0]] = err
			return nil
		}
		if err := try(part[:len(part)/2]); err != nil {
			return err
		}
		return try(part[len(part)/2:])
	}
	if len(serials) > 0 {
		err = try(serials)
	}
	return refused, left, err
}

// refusesSome reports whether err may be the fault of some of the serials in a call.
func refusesSome(err error) bool {
	e, ok := errors.AsType[*APIError](err)
	return ok && e.Op != opSession && errors.Is(e, ErrBadRequest) && !wholeCall(e.Code)
}

// wholeCall reports whether a code blames the request, whatever its serials.
func wholeCall(code string) bool {
	switch code {
	case "USER_AGENT_MISSING", "USER_AGENT_INVALID", "PROFILE_UUID_REQUIRED":
		return true
	}
	return false
}

// details returns what Apple shows of serials, those that it refuses to be asked for, and those it was not asked for.
func (s *step) details(ctx context.Context, serials []string) (shown map[string]Device, refused map[string]error, left []string, err error) {
	shown = make(map[string]Device, len(serials))
	refused, left, err = bisect(serials, func(part []string) error {
		m, err := s.apple().DeviceDetails(ctx, part...)
		maps.Copy(shown, m)
		return err
	})
	if len(refused)+len(left) > 0 {
		s.log.Warn("apple refuses to show devices", zap.Int("refused", len(refused)), zap.Int("not asked", len(left)))
	}
	return shown, refused, left, err
}

// pick returns the rows of serials.
func pick(rows []storage.Assignment, serials []string) []storage.Assignment {
	in := make(map[string]bool, len(serials))
	for _, s := range serials {
		in[s] = true
	}
	out := make([]storage.Assignment, 0, len(serials))
	for _, a := range rows {
		if in[a.Serial] {
			out = append(out, a)
		}
	}
	return out
}
