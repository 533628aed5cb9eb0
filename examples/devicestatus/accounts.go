package main

import (
	"context"

	"github.com/enrollkit/enrollkit/storage"
)

// allAccounts returns the names of all accounts in the store.
func allAccounts(ctx context.Context, store storage.AccountStore) ([]string, error) {
	var names []string
	var page storage.Page
	for {
		accounts, next, err := store.ListAccounts(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, a := range accounts {
			names = append(names, a.Name)
		}
		if next == "" {
			return names, nil
		}
		page.After = next
	}
}
