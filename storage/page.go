package storage

// MaxBatch is the largest number of records or keys one call may carry.
const MaxBatch = 5000

// Page sizes of lists.
const (
	DefaultPageSize = 100
	MaxPageSize     = 1000
)

// Page asks for one page of a list. The zero Page is the first one, of DefaultPageSize.
type Page struct {
	// After is the cursor the previous page came with; empty for the first page. It is opaque and belongs to one list
	// with one filter.
	After string
	// Limit is the largest number of records wanted; 0 means DefaultPageSize, more than MaxPageSize means MaxPageSize.
	Limit int
}

// Size returns the number of records the page may hold. A negative limit counts as 0.
func (p Page) Size() int {
	switch {
	case p.Limit <= 0:
		return DefaultPageSize
	case p.Limit > MaxPageSize:
		return MaxPageSize
	}
	return p.Limit
}
