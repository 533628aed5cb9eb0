package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
)

// A write carries the version that was read; of two writers that read the same one, the second has to read again.
func Example() {
	ctx := context.Background()
	store := memory.New()
	_ = store.CreateAccount(ctx, storage.Account{Name: "acme"})

	mine, _ := store.GetAccount(ctx, "acme")
	yours, _ := store.GetAccount(ctx, "acme")

	mine.Health = storage.HealthOK
	fmt.Println(store.UpdateAccount(ctx, mine))

	yours.Health = storage.HealthRejected
	fmt.Println(errors.Is(store.UpdateAccount(ctx, yours), storage.ErrConflict))
	// Output:
	// <nil>
	// true
}
