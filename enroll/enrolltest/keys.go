package enrolltest

import (
	"crypto/rand"
	"crypto/rsa"
	"sync"
)

// keyPool hands out RSA keys of a size in turn, making each when it is first needed.
type keyPool struct {
	perSize int // 0: never share

	mu    sync.Mutex
	sizes map[int]*sharedKeys
}

type sharedKeys struct {
	mu   sync.Mutex
	keys []*rsa.PrivateKey
	next int
}

func newKeyPool(perSize int) *keyPool {
	return &keyPool{perSize: perSize, sizes: map[int]*sharedKeys{}}
}

func (p *keyPool) key(bits int) (*rsa.PrivateKey, error) {
	if p.perSize == 0 {
		return rsa.GenerateKey(rand.Reader, bits)
	}
	p.mu.Lock()
	s := p.sizes[bits]
	if s == nil {
		s = &sharedKeys{}
		p.sizes[bits] = s
	}
	p.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) < p.perSize {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, k)
		return k, nil
	}
	k := s.keys[s.next%len(s.keys)]
	s.next++
	return k, nil
}
