package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/abm/abmtest"
	"github.com/enrollkit/enrollkit/enroll/enrolltest"
	"github.com/enrollkit/enrollkit/storage"
)

// apple is the simulated Apple Business Manager, with one MDM server entry that all devices are assigned to.
type apple struct {
	*abmtest.Service
	entry   *abmtest.MDMServer
	devices []abmtest.Device
}

// newApple returns an organization that has bought n devices.
func newApple(n int, seed uint64) (*apple, error) {
	svc, err := abmtest.NewService(abmtest.WithSeed(seed))
	if err != nil {
		return nil, err
	}
	entry, err := svc.AddMDMServer("Quickstart MDM")
	if err != nil {
		return nil, err
	}
	a := &apple{Service: svc, entry: entry, devices: svc.RandomDevices(n)}
	return a, svc.AddDevices(entry, a.devices...)
}

// connect does what an administrator does in the portal: it uploads the certificate of a key pair of the account,
// downloads the server token made for it, and imports that. The account is created if it is missing.
func (a *apple) connect(ctx context.Context, accounts *abm.Accounts, name, baseURL string) error {
	if _, err := accounts.Create(ctx, name, baseURL); err != nil && !errors.Is(err, storage.ErrExists) {
		return err
	}
	keyPair, err := accounts.CreateKeyPair(ctx, name)
	if err != nil {
		return err
	}
	if err := a.entry.UploadCertificate(keyPair.Certificate); err != nil {
		return err
	}
	p7m, err := a.entry.MintToken()
	if err != nil {
		return err
	}
	_, err = accounts.ImportToken(ctx, name, p7m, abm.ImportOptions{})
	return err
}

// activation gives a booting device its record.
func (a *apple) activation(_ context.Context, serial string) ([]byte, error) {
	rec, err := a.ActivationRecord(serial)
	if errors.Is(err, abmtest.ErrNoProfile) {
		return nil, enrolltest.ErrNoProfile
	}
	if err != nil {
		return nil, fmt.Errorf("activation of %s: %w", serial, err)
	}
	return json.RawMessage(rec.Profile), nil
}
