package abmtest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"io"
)

const (
	// lineLength is where base64 and the JSON of a token file are broken.
	lineLength = 64
	// chunkLength is the size of the pieces of the constructed content string.
	chunkLength = 256
)

// Tags of the few ASN.1 types that an envelope has.
const (
	tagInteger     = 0x02
	tagOctetString = 0x04
	tagNull        = 0x05
	tagOID         = 0x06
	tagSequence    = 0x30
	tagSet         = 0x31
	tagContext0    = 0xA0
)

// tokenFile wraps the JSON credentials as the portal does: MIME inside CMS EnvelopedData inside S/MIME.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/examining-server-tokens
func tokenFile(credentials []byte, to *x509.Certificate, random io.Reader) ([]byte, error) {
	var inner bytes.Buffer
	inner.WriteString("Content-Type: text/plain;charset=UTF-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
	inner.WriteString("-----BEGIN MESSAGE-----\r\n")
	fold(&inner, credentials) // also in the middle of strings, as in real files
	inner.WriteString("-----END MESSAGE-----\r\n")

	envelope, err := envelop(inner.Bytes(), to, random)
	if err != nil {
		return nil, err
	}
	var outer bytes.Buffer
	// The first line is folded in Apple's sample, too.
	outer.WriteString("Content-Type: application/pkcs7-mime; name=\"smime.p7m\"; smime-type=enveloped-\r\n data\r\n" +
		"Content-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename=\"smime.p7m\"\r\n" +
		"Content-Description: S/MIME Encrypted Message\r\n\r\n")
	fold(&outer, []byte(base64.StdEncoding.EncodeToString(envelope)))
	return outer.Bytes(), nil
}

// fold writes data in lines and puts nothing but line ends between them.
func fold(w *bytes.Buffer, data []byte) {
	for len(data) > 0 {
		n := min(lineLength, len(data))
		w.Write(data[:n])
		w.WriteString("\r\n")
		data = data[n:]
	}
}

// envelop encrypts content with AES-128-CBC to the RSA key of a certificate and returns CMS EnvelopedData (RFC 5652
// section 6) as BER with indefinite lengths and a constructed content string, the form Apple's files have.
func envelop(content []byte, to *x509.Certificate, random io.Reader) ([]byte, error) {
	public, ok := to.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the key is not RSA: %w", ErrNoCertificate)
	}
	secret := make([]byte, 16+aes.BlockSize)
	if _, err := io.ReadFull(random, secret); err != nil {
		return nil, err
	}
	key, iv := secret[:16], secret[16:]
	wrapped, err := rsa.EncryptPKCS1v15(random, public, key) //nolint:staticcheck // what Apple's files use
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(content)%aes.BlockSize
	encrypted := append(bytes.Clone(content), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(encrypted, encrypted)

	var pieces [][]byte
	for len(encrypted) > 0 {
		n := min(chunkLength, len(encrypted))
		pieces = append(pieces, primitive(tagOctetString, encrypted[:n]))
		encrypted = encrypted[n:]
	}
	serial, err := asn1.Marshal(to.SerialNumber)
	if err != nil {
		return nil, err
	}
	recipient := constructed(tagSequence,
		primitive(tagInteger, []byte{0}),
		constructed(tagSequence, to.RawIssuer, serial),
		constructed(tagSequence, oid(1, 2, 840, 113549, 1, 1, 1), primitive(tagNull, nil)), // rsaEncryption
		primitive(tagOctetString, wrapped))
	encryptedContent := constructed(tagSequence,
		oid(1, 2, 840, 113549, 1, 7, 1), // data
		constructed(tagSequence, oid(2, 16, 840, 1, 101, 3, 4, 1, 2), primitive(tagOctetString, iv)), // aes128-CBC
		constructed(tagContext0, pieces...))
	return constructed(tagSequence,
		oid(1, 2, 840, 113549, 1, 7, 3), // envelopedData
		constructed(tagContext0, constructed(tagSequence,
			primitive(tagInteger, []byte{0}),
			constructed(tagSet, recipient),
			encryptedContent))), nil
}

// constructed encodes a value made of others, with indefinite length.
func constructed(tag byte, children ...[]byte) []byte {
	out := []byte{tag, 0x80}
	for _, c := range children {
		out = append(out, c...)
	}
	return append(out, 0, 0)
}

// primitive encodes a value of at most 65,535 bytes with definite length.
func primitive(tag byte, content []byte) []byte {
	out := []byte{tag}
	switch n := len(content); {
	case n < 0x80:
		out = append(out, byte(n))
	case n <= 0xFF:
		out = append(out, 0x81, byte(n))
	default:
		out = append(out, 0x82, byte(n>>8), byte(n))
	}
	return append(out, content...)
}

// oid encodes an object identifier.
func oid(first, second int, rest ...int) []byte {
	content := []byte{byte(first*40 + second)}
	for _, arc := range rest {
		group := []byte{byte(arc & 0x7F)}
		for arc >>= 7; arc > 0; arc >>= 7 {
			group = append([]byte{byte(arc&0x7F) | 0x80}, group...)
		}
		content = append(content, group...)
	}
	return primitive(tagOID, content)
}
