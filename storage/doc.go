// Package storage says what enrollkit keeps and what it promises about it.
//
// It holds the records, the small interfaces through which the other packages read and write them, the errors a
// backend answers with, and the sealing of secrets. It knows nothing about who uses it: every other package of the
// module may depend on storage, and storage depends on none of them.
//
// # Nouns
//
//	Account             one MDM server entry at Apple, with its sealed token and its health
//	KeyPair             the RSA key Apple encrypts an account's token to; several may be staged
//	ServiceSession      the session at Apple that all replicas of an account share
//	NanoDEP             what nanodep keeps of an account, when it shares the store
//	Device              what Apple says of one serial in one account (observed)
//	Assignment          the profile one serial shall have, and what came of asking for it (desired and attempted)
//	Profile             an enrollment profile, and its UUID once Apple knows it
//	Cursor              how far the inventory of an account has been read
//	EnrollmentSession   one device on its way from its first request to its enrollment profile
//	Enrollment          one device that checks in
//	Run, Effect         one pass of a device through its setup experience, and the work it decided on (outbox)
//	Activity            something that happened, for people to read
//	Lease               the right to work on something, held by one process at a time
//
// # Contract
//
// These rules hold for every method of every interface in this package. Package storagetest checks them.
//
//   - A record that is missing is [ErrNotFound], never an empty value. Deleting a missing record is no error and
//     writes nothing, its activities included.
//   - Creating over a taken key is [ErrExists]. A write that carries a Version must match the stored one, otherwise
//     it is [ErrConflict]. Version 0 means "must not exist yet". A successful write raises the version by one; the
//     version a caller passes in tells what it read. A record that has gone meanwhile is ErrNotFound from the Update
//     methods and ErrConflict from the Put and Commit methods.
//   - A method is one transaction: all it was asked to write is stored, or nothing is and the error says why.
//     Activities passed to a method are stored with the change they describe.
//   - Methods may be called from any number of goroutines and processes at once.
//   - Keys and identifiers (names, serials, IDs, fingerprints, states and kinds) are at most [MaxKey] bytes of valid
//     UTF-8 without NUL, and those that make up the key of a record are not empty; otherwise a write is [ErrInvalid].
//     They are compared and ordered byte for byte. A read that asks for a key no record can have finds nothing.
//   - Other text is stored as valid UTF-8 without NUL ([Text]); what is not becomes U+FFFD.
//   - Times are stored in UTC, cut to microseconds ([Time]). The zero time means "unset" and comes back as zero.
//   - Documents ([]byte fields) come back byte for byte; a record may hold 1 MiB and more. Nil and empty documents both
//     come back as nil.
//   - Returned values belong to the caller, and values passed in are not kept: changing either changes nothing stored.
//   - Lists are in a stable order and paged ([Page]). A record that exists, and matches the filter, during the whole
//     listing appears exactly once, whatever is written meanwhile. An empty next is the end of the list; a page that
//     comes with a next may all the same be short or empty. [ErrBadCursor] is a Page.After that this list did not make.
//   - now is always the caller's clock. Clocks of replicas may differ by seconds: that costs time, never correctness,
//     which rests on versions and fences.
//   - A cancelled context ends a call with the context's error, and nothing is written.
//   - A batch holds at most [MaxBatch] records or keys; a larger one is [ErrTooLarge]. Each list in a change counts for
//     itself. A limit of 0 or less returns nothing, one above MaxBatch counts as MaxBatch.
//   - A ttl or hold that is not positive is [ErrInvalid].
//
// The Normalize methods of the records do what these rules say about single records: a backend begins a write with them.
package storage
