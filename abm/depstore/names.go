package depstore

import (
	"context"
	"errors"
	"slices"

	nanodep "github.com/micromdm/nanodep/storage"

	"github.com/enrollkit/enrollkit/storage"
)

// defaultNames is how many DEP names are returned to who does not say, as nanodep's own storages do.
const defaultNames = 100

// QueryDEPNames returns the names of accounts in byte order, all or those that were asked for and exist. Pages are by
// offset or by cursor; the cursor of the next page is returned unless an offset was given. The error of a cursor that is
// not this storage's is storage.ErrBadCursor.
func (s *Storage) QueryDEPNames(ctx context.Context, req *nanodep.DEPNamesQueryRequest) (*nanodep.DEPNamesQueryResult, error) {
	if req == nil {
		req = new(nanodep.DEPNamesQueryRequest)
	}
	cursor, offset, limit, err := req.Pagination.ValidateDefaultOffsetLimit(defaultNames)
	if err != nil {
		return nil, err
	}
	offset = max(offset, 0)
	var res nanodep.DEPNamesQueryResult
	var next string
	if req.Filter != nil && len(req.Filter.DEPNames) > 0 {
		res.DEPNames, next, err = s.existing(ctx, req.Filter.DEPNames, cursor, offset, limit)
	} else {
		res.DEPNames, next, err = s.all(ctx, cursor, offset, limit)
	}
	if err != nil {
		return nil, err
	}
	if next != "" && (req.Pagination == nil || req.Pagination.Offset == nil) {
		res.NextCursor = &next
	}
	return &res, nil
}

// all returns up to limit of the accounts after cursor and offset.
func (s *Storage) all(ctx context.Context, cursor string, offset, limit int) (names []string, next string, err error) {
	for next = cursor; ; {
		page := storage.Page{After: next, Limit: min(limit-len(names), storage.MaxPageSize)}
		if offset > 0 { // a page to be passed over; what is too much of it is cut off
			page.Limit = storage.MaxPageSize
		}
		accts, after, err := s.store.ListAccounts(ctx, page)
		if err != nil {
			return nil, "", wrap("names", "", err)
		}
		next = after
		skip := min(offset, len(accts))
		offset -= skip
		for i := range accts[skip:] {
			names = append(names, accts[skip+i].Name)
		}
		if next == "" || len(names) >= limit {
			return names[:min(len(names), limit)], next, nil
		}
	}
}

// existing returns up to limit of those of the wanted names that exist, after cursor, which is a name, and offset.
func (s *Storage) existing(ctx context.Context, wanted []string, cursor string, offset, limit int) (names []string, next string, err error) {
	wanted = slices.Clone(wanted)
	slices.Sort(wanted)
	for _, name := range slices.Compact(wanted) {
		if name <= cursor {
			continue
		}
		_, err := s.store.GetAccount(ctx, name)
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return nil, "", wrap("names", name, err)
		case offset > 0:
			offset--
		case len(names) == limit:
			return names, names[limit-1], nil
		default:
			names = append(names, name)
		}
	}
	return names, "", nil
}
