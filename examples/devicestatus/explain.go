package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/examples/internal/sqlitedb"
	"github.com/enrollkit/enrollkit/storage"
)

// explain prints why devices have the profile they have, and what happens next.
func explain(ctx context.Context, db *sqlitedb.DB, c config, stdout io.Writer) error {
	rules, err := unknownRules()
	if c.rules != "" {
		rules, err = readRules(c.rules)
	}
	if err != nil {
		return err
	}
	engine, err := abm.New(db, db.Sealer, rules)
	if err != nil {
		return err
	}
	away := false
	for i, serial := range c.serials {
		x, err := engine.Explain(ctx, serial)
		if err != nil {
			return err
		}
		away = away || x.Account == ""
		if c.json {
			err = json.NewEncoder(stdout).Encode(x)
		} else {
			if i > 0 {
				_, _ = fmt.Fprintln(stdout)
			}
			err = x.WriteText(stdout)
		}
		if err != nil {
			return err
		}
	}
	if away {
		return errNotAccessible
	}
	return nil
}

// unknownRules stand in for the rules of the server, which this program cannot know. They decide nothing, so that what is
// stored is explained.
func unknownRules() (abm.Resolver, error) {
	err := errors.New("the rules of the server are not known here; name their file with -rules")
	return abm.ForEach(func() abm.Rules { return abm.Rules{} },
		func(context.Context, storage.Device) abm.Decision { return abm.Decision{Err: err} })
}
