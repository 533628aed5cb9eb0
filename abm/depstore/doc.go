// Package depstore lets nanodep and enrollkit share one database: [Storage] is nanodep's storage.AllStorage over the
// stores of package storage.
//
//	store, err := depstore.New(sqlStore, sealer)
//	client := godep.NewClient(store)                     // nanodep's
//	engine, err := abm.New(sqlStore, sealer, resolver)   // ours, of the same accounts
//
// A DEP name is an account's name. What both need is kept once:
//
//   - The tokens of a DEP name are the account's server token, sealed. A token that depserver stores is the one the engine
//     uses from its next look on, and a token that is renewed through abm.Accounts is the one nanodep reads next. The engine
//     asks Apple whose token it is before it works with one that nanodep has stored, and refuses another server's.
//   - The config of a DEP name is the account's base URL. There is none while the account uses the default, which is then
//     nanodep's own: the base URL set with abm.WithBaseURL is not stored.
//   - Token PKI key pairs are the account's key pairs; nanodep's current one is the one in use. Staging another one keeps
//     those before, so a token file that was encrypted to an earlier certificate can still be imported through
//     abm.Accounts. nanodep changes key pair and token in two writes, where ImportToken needs one.
//
// What each has for itself is kept apart: nanodep's cursor and assigner profile are fields that the engine does not touch,
// and the engine's cursor is not nanodep's. At Apple a cursor is a place in a list that any number of readers can hold, so
// each sees every change, and neither takes the other's. Both would assign profiles, though: give the DEP name no assigner
// profile, or the engine a resolver that wants none, as two that want different ones take turns for ever.
//
// An account that nanodep stores something for is made if there is none. Missing tokens and key pairs are nanodep's
// storage.ErrNotFound, a missing config is nil, a missing cursor or assigner profile empty.
//
// [Storage] is safe for concurrent use, also by several processes on one store.
//
// This package is the only one that imports nanodep's storage, and with it nanodep's HTTP API: a host that does not
// import it does not compile those.
package depstore
