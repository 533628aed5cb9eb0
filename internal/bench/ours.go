package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/storage"
	"github.com/enrollkit/enrollkit/storage/memory"
	"github.com/enrollkit/enrollkit/storage/sqlstore"
)

const accountName = "bench"

// ourDecode returns a function that reads pages one after the other, as the engine does.
func ourDecode() func([]byte) (int, error) {
	var p abm.DevicePage
	return func(page []byte) (int, error) {
		err := p.UnmarshalJSON(page)
		return len(p.Devices), err
	}
}

// ourDecodeOnce reads a page that the caller keeps.
func ourDecodeOnce(page []byte) (int, error) {
	var p abm.DevicePage
	err := p.UnmarshalJSON(page)
	return len(p.Devices), err
}

// ourClient reads the full list with the client.
func ourClient(ctx context.Context, url string) (int, error) {
	c, err := abm.NewClient(abm.Token{
		ConsumerKey: "CK_bench", ConsumerSecret: "CS_bench", AccessToken: "AT_bench", AccessSecret: "AS_bench",
		ExpiresAt: time.Now().Add(time.Hour),
	}, abm.WithBaseURL(url))
	if err != nil {
		return 0, err
	}
	devices := 0
	for cursor, more := "", true; more; {
		p, err := c.FetchDevices(ctx, cursor, pageSize)
		if err != nil {
			return devices, err
		}
		devices += len(p.Devices)
		cursor, more = p.Cursor, p.MoreToFollow
	}
	return devices, nil
}

// engine is an engine with an account at a server, and the store behind it.
type engine struct {
	*abm.Engine
	store storage.Store
	close func() error
}

type opener func(context.Context) (storage.Store, func() error, error)

func openMemory(context.Context) (storage.Store, func() error, error) {
	return memory.New(), func() error { return nil }, nil
}

func openSQLite(ctx context.Context) (storage.Store, func() error, error) {
	dir, err := os.MkdirTemp("", "enrollkit-bench")
	if err != nil {
		return nil, nil, err
	}
	db, err := sql.Open("sqlite", sqlstore.SQLiteDSN(filepath.Join(dir, "bench.db")))
	if err != nil {
		return nil, nil, err
	}
	closeAll := func() error { return errors.Join(db.Close(), os.RemoveAll(dir)) }
	if err := sqlstore.Migrate(ctx, db, sqlstore.SQLite); err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	s, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return s, closeAll, nil
}

// wish says what an engine wants for the devices.
type wish func() (abm.Resolver, error)

// nothing leaves all devices alone: what is stored is the inventory and that its devices have appeared.
func nothing() (abm.Resolver, error) { return abm.NewStaticResolver(abm.StaticRules{}) }

// oneProfile gives every device the same profile: an assignment for each is stored too.
func oneProfile() (abm.Resolver, error) {
	return abm.ForAll(depprofile.Default("https://mdm.example.com/mdm/sso"))
}

// newEngine makes an engine for one account. The token comes from a simulated portal; the service it is for is at url.
func newEngine(ctx context.Context, open opener, want wish, url string) (*engine, error) {
	store, closeStore, err := open(ctx)
	if err != nil {
		return nil, err
	}
	e, err := newEngineOn(ctx, store, want, url)
	if err != nil {
		return nil, errors.Join(err, closeStore())
	}
	return &engine{Engine: e, store: store, close: closeStore}, nil
}

func newEngineOn(ctx context.Context, store storage.Store, want wish, url string) (*abm.Engine, error) {
	keys, err := storage.NewKeyset()
	if err != nil {
		return nil, err
	}
	sealer, err := storage.NewKeysetSealer(keys)
	if err != nil {
		return nil, err
	}
	resolver, err := want()
	if err != nil {
		return nil, err
	}
	e, err := abm.New(store, sealer, resolver, abm.WithBaseURL(url))
	if err != nil {
		return nil, err
	}
	if _, err := e.Accounts().Create(ctx, accountName, ""); err != nil {
		return nil, err
	}
	pair, err := e.Accounts().CreateKeyPair(ctx, accountName)
	if err != nil {
		return nil, err
	}
	portal, err := abmtest.NewService()
	if err != nil {
		return nil, err
	}
	server, err := portal.AddMDMServer("bench")
	if err != nil {
		return nil, err
	}
	if err := server.UploadCertificate(pair.Certificate); err != nil {
		return nil, err
	}
	file, err := server.MintToken()
	if err != nil {
		return nil, err
	}
	_, err = e.Accounts().ImportToken(ctx, accountName, file, abm.ImportOptions{})
	return e, err
}

// sync reads the full list, and then what has changed since, and stores it with what is wanted for each device.
func (e *engine) sync(ctx context.Context) (int, error) {
	res, err := e.SyncOnce(ctx, accountName)
	return res.Devices, err
}

// assign assigns what is due, and records the result for each device.
func (e *engine) assign(ctx context.Context) (int, error) {
	done := 0
	for {
		res, err := e.AssignOnce(ctx, accountName)
		if err != nil || res.Due == 0 {
			return done, err
		}
		done += res.Assigned
	}
}
