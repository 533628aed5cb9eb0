package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

func openStore(_ context.Context, _ string) (storage.Store, func(), error) {
	return memory.New(), func() {}, nil
}

// openSealer returns the sealer over the keyset in the file, which is made if it is missing.
func openSealer(path string) (storage.Sealer, error) {
	keyset, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if keyset, err = storage.NewKeyset(); err == nil {
			err = os.WriteFile(path, keyset, 0o600)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	return storage.NewKeysetSealer(keyset)
}
