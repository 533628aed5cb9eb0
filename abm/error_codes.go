package abm

import (
	"errors"
	"net/http"
)

// Errors for Apple's codes, each under the code's own name. Those of a group are also the error of the group, so that
// errors.Is finds both: [ErrLocaleInvalid] is [ErrProfileRefused], [ErrCursorRequired] is [ErrBadRequest].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/interpreting-automated-device-enrollment-error-codes
var (
	// ErrMalformedBody means that Apple could not read the request's body.
	ErrMalformedBody = codeError("malformed request body", ErrBadRequest)
	// ErrUserAgentMissing means that the request had no User-Agent.
	ErrUserAgentMissing = codeError("user agent missing", ErrBadRequest)
	// ErrUserAgentInvalid means that Apple does not take the User-Agent; what makes one invalid is not documented.
	ErrUserAgentInvalid = codeError("user agent invalid", ErrBadRequest)
	// ErrCursorRequired means that a sync was asked for without cursor.
	ErrCursorRequired = codeError("cursor required", ErrBadRequest)
	// ErrDeviceIDRequired means that the request named no device.
	ErrDeviceIDRequired = codeError("device id required", ErrBadRequest)
	// ErrProfileUUIDRequired means that the request named no profile.
	ErrProfileUUIDRequired = codeError("profile uuid required", ErrBadRequest)
	// ErrDeviceNotFound means that the device is unknown, not accessible, or no replacement.
	ErrDeviceNotFound = codeError("device not found", ErrNotFound)
	// ErrDiscoveryURLRequired means that the request had no service discovery URL.
	ErrDiscoveryURLRequired = codeError("service discovery url required", ErrBadRequest)
	// ErrDiscoveryURLNotValid means that the service discovery URL is badly formed or not https.
	ErrDiscoveryURLNotValid = codeError("service discovery url not valid", ErrBadRequest)

	// ErrConfigNameRequired means that profile_name is missing.
	ErrConfigNameRequired = codeError("profile_name required", ErrProfileRefused)
	// ErrConfigNameInvalid means that profile_name is empty or longer than 125 characters.
	ErrConfigNameInvalid = codeError("profile_name invalid", ErrProfileRefused)
	// ErrConfigURLRequired means that url is missing.
	ErrConfigURLRequired = codeError("url required", ErrProfileRefused)
	// ErrConfigURLInvalid means that url is empty, longer than 2000 characters, or no URL.
	ErrConfigURLInvalid = codeError("url invalid", ErrProfileRefused)
	// ErrDepartmentInvalid means that department is empty or longer than 125 characters.
	ErrDepartmentInvalid = codeError("department invalid", ErrProfileRefused)
	// ErrSupportPhoneInvalid means that support_phone_number is empty or longer than 50 characters.
	ErrSupportPhoneInvalid = codeError("support_phone_number invalid", ErrProfileRefused)
	// ErrSupportEmailInvalid means that support_email_address is empty or longer than 250 characters.
	ErrSupportEmailInvalid = codeError("support_email_address invalid", ErrProfileRefused)
	// ErrMagicInvalid means that org_magic is empty or longer than 256 characters.
	ErrMagicInvalid = codeError("org_magic invalid", ErrProfileRefused)
	// ErrFlagsInvalid means that is_mdm_removable is false while is_supervised is not true.
	ErrFlagsInvalid = codeError("flags invalid", ErrProfileRefused)
	// ErrLocaleInvalid means that Apple does not support the combination of language and region.
	ErrLocaleInvalid = codeError("locale invalid", ErrProfileRefused)

	// errProfileMalformed is what a malformed body is when a profile is defined: the body is the profile.
	errProfileMalformed = codeError("profile refused: malformed request body", ErrProfileRefused, ErrMalformedBody)
)

// grouped is an error with the groups it belongs to. fmt.Errorf with %w would put the text of the group into it.
type grouped struct {
	text   string
	groups []error
}

func codeError(text string, groups ...error) error { return &grouped{"abm: " + text, groups} }

func (e *grouped) Error() string   { return e.text }
func (e *grouped) Unwrap() []error { return e.groups }

// codes maps Apple's codes that mean the same wherever they come from. NOT_FOUND does not.
var codes = map[string]error{
	"UNAUTHORIZED":   ErrUnauthorized,
	"FORBIDDEN":      ErrForbidden,
	"ACCESS_DENIED":  ErrAccessDenied,
	"T_C_NOT_SIGNED": ErrTermsNotSigned,

	"MALFORMED_REQUEST_BODY": ErrMalformedBody,
	"USER_AGENT_MISSING":     ErrUserAgentMissing,
	"USER_AGENT_INVALID":     ErrUserAgentInvalid,
	"CURSOR_REQUIRED":        ErrCursorRequired,
	"INVALID_CURSOR":         ErrCursorInvalid,
	"EXPIRED_CURSOR":         ErrCursorExpired,
	"EXHAUSTED_CURSOR":       ErrCursorExhausted,
	"DEVICE_ID_REQUIRED":     ErrDeviceIDRequired,
	"DEVICE_NOT_FOUND":       ErrDeviceNotFound,
	"PROFILE_UUID_REQUIRED":  ErrProfileUUIDRequired,
	"PROFILE_NOT_FOUND":      ErrProfileNotFound,

	"CONFIG_NAME_REQUIRED":  ErrConfigNameRequired,
	"CONFIG_NAME_INVALID":   ErrConfigNameInvalid,
	"CONFIG_URL_REQUIRED":   ErrConfigURLRequired,
	"CONFIG_URL_INVALID":    ErrConfigURLInvalid,
	"DEPARTMENT_INVALID":    ErrDepartmentInvalid,
	"SUPPORT_PHONE_INVALID": ErrSupportPhoneInvalid,
	"SUPPORT_EMAIL_INVALID": ErrSupportEmailInvalid,
	"MAGIC_INVALID":         ErrMagicInvalid,
	"FLAGS_INVALID":         ErrFlagsInvalid,
	"LOCALE_INVALID":        ErrLocaleInvalid,

	"APPLE_SEED_FOR_IT_TURNED_OFF":        ErrSeedingOff,
	"ORG_NOT_SUPPORTED":                   ErrOrgNotSupported,
	"MDM_SERVICE_DISCOVERY_URL_REQUIRED":  ErrDiscoveryURLRequired,
	"MDM_SERVICE_DISCOVERY_URL_NOT_VALID": ErrDiscoveryURLNotValid,
}

// cause maps status and code to an error of this package. A code counts in an answer that blames the request only: what
// an error page of a failing server contains is chance.
//
// Apple reports an unknown profile as 400 NOT_FOUND when it is fetched and as 404 when it is assigned.
func cause(op string, status int, code string) error {
	if status < 400 || status >= 500 {
		return causeOfStatus(status)
	}
	switch {
	case op == opFetchProfile && code == "NOT_FOUND", op == opAssignProfile && status == http.StatusNotFound:
		return ErrProfileNotFound
	case code == "NOT_FOUND":
		return ErrNotFound
	}
	known := codes[code]
	if op == opDefineProfile && refusesContent(status) {
		// Apple has refused contents with codes that it does not document.
		switch {
		case known == nil:
			return ErrProfileRefused
		case errors.Is(known, ErrMalformedBody):
			return errProfileMalformed
		}
	}
	if known != nil {
		return known
	}
	return causeOfStatus(status)
}

func causeOfStatus(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusTooManyRequests:
		return ErrRateLimited
	case status >= 500:
		return ErrUnavailable
	case status >= 400:
		return ErrBadRequest
	}
	return ErrBadResponse // 1xx, 3xx, and 2xx that are not 200
}

// refusesContent reports whether a status blames what was sent.
func refusesContent(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity
}
