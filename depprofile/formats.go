package depprofile

import (
	"crypto/x509"
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
)

// maxURLChars counts the URL as sent: what has to be percent-encoded must be so already.
const maxURLChars = 2000

// urlChars are the characters of RFC 2396 (reserved, unreserved, escaped) and the brackets RFC 2732 adds for IPv6 hosts.
var urlChars = regexp.MustCompile(`^(?:[A-Za-z0-9;/?:@&=+$,\-_.!~*'()\[\]]|%[0-9A-Fa-f]{2})*$`)

// urlProblem says why s is not an absolute https URL by RFC 2396 and 2732, without quoting it; reason is empty if it is one.
func urlProblem(s string) (reason, fix string) {
	if strings.Contains(s, "#") {
		return "it has a fragment, which no request carries", "remove it"
	}
	if !urlChars.MatchString(s) {
		return "it has characters a URL must not contain", "percent-encode them"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "it is not a URL by RFC 2396", "correct it"
	case u.Scheme != "https":
		return "it is not an https URL", "start it with https://"
	case u.Hostname() == "":
		return "it names no host", "use an absolute URL such as https://mdm.example.com/mdm/sso"
	}
	return "", ""
}

// certificateProblem says why s is not the base64 of a DER certificate; it is empty if it is.
func certificateProblem(s string) string {
	if strings.Contains(s, "-----BEGIN") {
		return "it is PEM"
	}
	if strings.ContainsAny(s, "\r\n") { // the decoder skips them; Apple documents no such tolerance
		return "it has line breaks"
	}
	der, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "it is not base64"
	}
	if _, err := x509.ParseCertificate(der); err != nil {
		return "it is not a DER certificate"
	}
	return ""
}
