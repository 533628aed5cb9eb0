// Package webapi has what the clients of web services share.
package webapi

import (
	"errors"
	"io"
	"net/url"
)

// ParseURL reads where a service is: an absolute http or https URL that ends with its path. Its errors do not quote the text.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
		return nil, errors.New("want an absolute http or https URL")
	case u.RawQuery != "", u.Fragment != "", u.User != nil:
		return nil, errors.New("want a URL without query, fragment and user")
	}
	return u, nil
}

// maxDrain is how much of a body is worth reading for the sake of its connection.
const maxDrain = 64 << 10

// Drain reads a little of what is left of a body, so that the connection can be used again, and closes it.
func Drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	_ = body.Close()
}
