package depprofile

import (
	"errors"
	"strings"
)

// ErrMalformed means that a document is not one JSON object, names a key twice, or is not valid UTF-8.
var ErrMalformed = errors.New("depprofile: not a well-formed JSON object")

// ErrorCode is the token Apple's service answers with, as the whole body of an HTTP 400, when a profile breaks a constraint.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/define-profile
type ErrorCode string

// The tokens Apple documents for a profile's content.
const (
	CodeNameRequired        ErrorCode = "CONFIG_NAME_REQUIRED"  // profile_name is missing
	CodeNameInvalid         ErrorCode = "CONFIG_NAME_INVALID"   // profile_name is too long
	CodeURLRequired         ErrorCode = "CONFIG_URL_REQUIRED"   // url is missing
	CodeURLInvalid          ErrorCode = "CONFIG_URL_INVALID"    // url is too long or no valid URL
	CodeDepartmentInvalid   ErrorCode = "DEPARTMENT_INVALID"    // department is too long
	CodeSupportPhoneInvalid ErrorCode = "SUPPORT_PHONE_INVALID" // support_phone_number is too long
	CodeSupportEmailInvalid ErrorCode = "SUPPORT_EMAIL_INVALID" // support_email_address is too long
	CodeMagicInvalid        ErrorCode = "MAGIC_INVALID"         // org_magic is too long
	CodeFlagsInvalid        ErrorCode = "FLAGS_INVALID"         // is_mdm_removable is false without is_supervised true
	CodeLocaleInvalid       ErrorCode = "LOCALE_INVALID"        // language or region is invalid
)

// KeyError is one constraint a profile breaks. It never quotes the value, which may hold an enrollment secret.
type KeyError struct {
	// Key is the JSON key.
	Key string
	// Code is Apple's token for trouble with this key, empty where Apple documents none.
	Code ErrorCode
	// Reason says what is wrong.
	Reason string
	// Fix says what to do.
	Fix string
}

// Error returns key, code, reason and fix in one line.
func (e *KeyError) Error() string {
	s := e.Key + ": "
	if e.Code != "" {
		s += string(e.Code) + ": "
	}
	return s + e.Reason + "; " + e.Fix
}

// KeyErrors are all the constraints a profile breaks, in the order of its fields, text that is not UTF-8 last. Get at them with
// errors.As, for a [*KeyError] (the first) or for KeyErrors.
type KeyErrors []*KeyError

// Error lists all errors.
func (es KeyErrors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single errors.
func (es KeyErrors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}
