package enrolltest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // CAFingerprint may be one
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // CAFingerprint may be one
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/smallstep/scep"
	"github.com/smallstep/scep/x509util"
)

// scepPayload is the PayloadContent dictionary of com.apple.security.scep.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/scep/payloadcontent
type scepPayload struct {
	URL           string
	Name          string
	Challenge     string
	Subject       [][][]string
	Keysize       int
	CAFingerprint []byte
	KeyType       string `plist:"Key Type"`
	SubjectAlt    struct {
		Email any `plist:"rfc822Name"`
		DNS   any `plist:"dNSName"`
		URI   any `plist:"uniformResourceIdentifier"`
	} `plist:"SubjectAltName"`
}

func parseSCEPPayload(pl Payload) (*scepPayload, error) {
	content, _ := pl.Content["PayloadContent"].(map[string]any)
	s := scepPayload{Keysize: 1024}
	if err := redecode(content, &s); err != nil {
		return nil, invalid("%s: %w", payloadSCEP, err)
	}
	if _, err := checkURL(s.URL); err != nil {
		return nil, invalid("%s: URL: %w", payloadSCEP, err)
	}
	switch {
	case s.KeyType != "" && s.KeyType != "RSA":
		return nil, invalid("%s: Key Type %q, want RSA", payloadSCEP, s.KeyType)
	case s.Keysize != 1024 && s.Keysize != 2048 && s.Keysize != 4096:
		return nil, invalid("%s: Keysize %d, want 1024, 2048 or 4096", payloadSCEP, s.Keysize)
	}
	if _, err := s.subject(); err != nil {
		return nil, err
	}
	return &s, nil
}

// subject encodes the array of relative names, each an array of [short name or OID, value].
func (s *scepPayload) subject() ([]byte, error) {
	short := map[string]asn1.ObjectIdentifier{
		"C": {2, 5, 4, 6}, "L": {2, 5, 4, 7}, "ST": {2, 5, 4, 8}, "O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "CN": {2, 5, 4, 3},
	}
	var seq pkix.RDNSequence
	for _, rdn := range s.Subject {
		var set pkix.RelativeDistinguishedNameSET
		for _, pair := range rdn {
			if len(pair) != 2 {
				return nil, invalid("%s: Subject: want pairs of name and value", payloadSCEP)
			}
			oid, ok := short[pair[0]]
			for _, part := range strings.Split(pair[0], ".") {
				if ok {
					break
				}
				n, err := strconv.Atoi(part)
				if err != nil {
					return nil, invalid("%s: Subject: unknown name %q", payloadSCEP, pair[0])
				}
				oid = append(oid, n)
			}
			set = append(set, pkix.AttributeTypeAndValue{Type: oid, Value: pair[1]})
		}
		seq = append(seq, set)
	}
	der, err := asn1.Marshal(seq)
	if err != nil {
		return nil, invalid("%s: Subject: %w", payloadSCEP, err)
	}
	return der, nil
}

// obtainIdentity asks the SCEP server for a certificate (RFC 8894): GetCACert, GetCACaps, PKIOperation.
func (d *Device) obtainIdentity(ctx context.Context, s *scepPayload) (*Identity, error) {
	authority, err := d.caCertificates(ctx, s)
	if err != nil {
		return nil, err
	}
	caps, err := d.scep(ctx, http.MethodGet, s, "GetCACaps", s.Name, nil)
	if err != nil {
		return nil, err
	}
	key, err := d.ca.keys.key(s.Keysize)
	if err != nil {
		return nil, err
	}
	req, self, err := s.request(key, authority)
	if err != nil {
		return nil, fmt.Errorf("%w: request: %w", ErrSCEP, err)
	}
	method := http.MethodGet
	for line := range strings.Lines(string(caps.body)) {
		if c := strings.TrimSpace(line); c == "POSTPKIOperation" || c == "SCEPStandard" {
			method = http.MethodPost
		}
	}
	a, err := d.scep(ctx, method, s, "PKIOperation", "", req.Raw)
	if err != nil {
		return nil, err
	}
	cert, err := readCertRep(a.body, req, authority, self, key)
	if err != nil {
		return nil, err
	}
	return &Identity{Certificate: cert, key: key}, nil
}

// caCertificates fetches the authority's certificates and compares the first of them, or one of them, with CAFingerprint.
func (d *Device) caCertificates(ctx context.Context, s *scepPayload) ([]*x509.Certificate, error) {
	a, err := d.scep(ctx, http.MethodGet, s, "GetCACert", s.Name, nil)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	switch a.mime() {
	case "application/x-x509-ca-cert":
		certs, err = x509.ParseCertificates(a.body)
	case "application/x-x509-ca-ra-cert":
		certs, err = scep.CACerts(a.body)
	default:
		err = fmt.Errorf("content type %q", a.header.Get("Content-Type"))
	}
	if err == nil && len(certs) == 0 {
		err = errors.New("no certificate")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: GetCACert: %w", ErrSCEP, err)
	}
	if len(s.CAFingerprint) == 0 {
		return certs, nil
	}
	for _, c := range certs {
		if fingerprintMatches(c.Raw, s.CAFingerprint) {
			return certs, nil
		}
	}
	return nil, ErrFingerprint
}

// fingerprintMatches goes by the length of the fingerprint: MD5, SHA-1, or SHA-256, of which the last is a guess.
func fingerprintMatches(der, want []byte) bool {
	var got []byte
	switch len(want) {
	case md5.Size:
		h := md5.Sum(der) //nolint:gosec // see above
		got = h[:]
	case sha1.Size:
		h := sha1.Sum(der) //nolint:gosec // see above
		got = h[:]
	case sha256.Size:
		h := sha256.Sum256(der)
		got = h[:]
	}
	return len(got) > 0 && bytes.Equal(got, want)
}

// request builds the PKCSReq: a certificate request with the challenge, encrypted to the authority and signed with a
// certificate the device makes for itself.
func (s *scepPayload) request(key *rsa.PrivateKey, authority []*x509.Certificate) (*scep.PKIMessage, *x509.Certificate, error) {
	subject, err := s.subject()
	if err != nil {
		return nil, nil, err
	}
	tmpl := x509util.CertificateRequest{ChallengePassword: s.Challenge}
	tmpl.RawSubject, tmpl.SignatureAlgorithm = subject, x509.SHA256WithRSA
	tmpl.DNSNames, tmpl.EmailAddresses = texts(s.SubjectAlt.DNS), texts(s.SubjectAlt.Email)
	for _, raw := range texts(s.SubjectAlt.URI) {
		u, err := url.Parse(raw)
		if err != nil {
			return nil, nil, err
		}
		tmpl.URIs = append(tmpl.URIs, u)
	}
	der, err := x509util.CreateCertificateRequest(rand.Reader, &tmpl, key)
	if err != nil {
		return nil, nil, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, nil, err
	}
	// Valid at any time a test may pretend it is: CMS signing times are the system's.
	from, to := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	selfDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), RawSubject: subject, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}, &x509.Certificate{RawSubject: subject}, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	self, err := x509.ParseCertificate(selfDER)
	if err != nil {
		return nil, nil, err
	}
	recipients := scep.EnciphermentCertsSelector().SelectCerts(authority)
	if len(recipients) == 0 {
		recipients = authority[:1] // an authority whose certificate does not say what its key is for
	}
	msg, err := scep.NewCSRRequest(csr, &scep.PKIMessage{
		MessageType: scep.PKCSReq, Recipients: recipients, SignerKey: key, SignerCert: self,
	})
	return msg, self, err
}

// readCertRep opens the answer and takes the certificate made for key out of it.
func readCertRep(body []byte, req *scep.PKIMessage, authority []*x509.Certificate, self *x509.Certificate,
	key *rsa.PrivateKey) (cert *x509.Certificate, err error) {
	defer func() {
		if r := recover(); r != nil { // the library trusts the shape of what it decrypts
			cert, err = nil, fmt.Errorf("%w: malformed answer: %v", ErrSCEP, r)
		}
	}()
	rep, err := scep.ParsePKIMessage(body, scep.WithCACerts(authority))
	if err != nil {
		return nil, fmt.Errorf("%w: read answer: %w", ErrSCEP, err)
	}
	switch {
	case rep.MessageType != scep.CertRep:
		return nil, fmt.Errorf("%w: the answer is not a CertRep", ErrSCEP)
	case rep.TransactionID != req.TransactionID:
		return nil, fmt.Errorf("%w: the answer belongs to another transaction", ErrSCEP)
	case !bytes.Equal(rep.RecipientNonce, req.SenderNonce):
		return nil, fmt.Errorf("%w: the answer does not repeat the nonce", ErrSCEP)
	case rep.PKIStatus == scep.PENDING:
		return nil, fmt.Errorf("%w: the request is pending; polling is not simulated", ErrSCEP)
	case rep.PKIStatus != scep.SUCCESS:
		return nil, fmt.Errorf("%w: the authority refuses: %s", ErrSCEP, rep.FailInfo)
	}
	if err := rep.DecryptPKIEnvelope(self, key); err != nil {
		return nil, fmt.Errorf("%w: open answer: %w", ErrSCEP, err)
	}
	if pub, ok := rep.Certificate.PublicKey.(*rsa.PublicKey); !ok || !pub.Equal(key.Public()) {
		return nil, fmt.Errorf("%w: the certificate is for another key", ErrSCEP)
	}
	return rep.Certificate, nil
}

// scep sends one operation. Devices append the query to the URL of the payload.
func (d *Device) scep(ctx context.Context, method string, s *scepPayload, operation, message string, body []byte) (*answer, error) {
	u, err := checkURL(s.URL)
	if err != nil {
		return nil, err
	}
	query := "operation=" + operation
	switch {
	case body != nil && method == http.MethodGet:
		query += "&message=" + url.QueryEscape(base64.StdEncoding.EncodeToString(body))
		body = nil
	case message != "":
		query += "&message=" + url.QueryEscape(message)
	}
	if u.RawQuery != "" {
		query = u.RawQuery + "&" + query
	}
	u.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-pki-message")
	}
	a, err := do(d.client(), req, maxDocument)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSCEP, operation, err)
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("%w: %s: status %d", ErrSCEP, operation, a.status)
	}
	return a, nil
}

// texts reads a value that may be a string or an array of strings.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
