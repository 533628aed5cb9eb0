package setupexp

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// Parameters of the password hash of macOS accounts, as dscl makes them.
const (
	hashEntropy    = 128 // bytes
	hashSalt       = 32  // bytes
	hashIterations = 40000
)

// HashPassword returns the passwordHash of an [AdminAccount]: a property list with the salted SHA512 PBKDF2 hash that
// macOS keeps. random gives the salt; use crypto/rand.Reader. The password itself is kept nowhere.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/account-configuration-command
func HashPassword(random io.Reader, password string) ([]byte, error) {
	if password == "" {
		return nil, errors.New("setupexp: hash password: empty password")
	}
	salt := make([]byte, hashSalt)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, fmt.Errorf("setupexp: hash password: %w", err)
	}
	entropy, err := pbkdf2.Key(sha512.New, password, salt, hashIterations, hashEntropy)
	if err != nil {
		return nil, fmt.Errorf("setupexp: hash password: %w", err)
	}
	var doc passwordHash
	doc.Hash.Entropy, doc.Hash.Salt, doc.Hash.Iterations = entropy, salt, hashIterations
	return plist.Marshal(doc)
}

type passwordHash struct {
	Hash struct {
		Entropy    []byte `plist:"entropy"`
		Salt       []byte `plist:"salt"`
		Iterations int    `plist:"iterations"`
	} `plist:"SALTED-SHA512-PBKDF2"`
}
