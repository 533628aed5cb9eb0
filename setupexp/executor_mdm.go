package setupexp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/enrollkit/enrollkit/internal/mdmcommand"
	"github.com/enrollkit/enrollkit/storage"
)

// enqueue makes a command and gives it to the commander. A command that cannot be made never can.
func enqueue(ctx context.Context, c Commander, enrollmentID, uuid string, command []byte, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	return c.Enqueue(ctx, enrollmentID, uuid, command)
}

// appleRelease is the Releaser of Apple's devices.
type appleRelease struct{ commander Commander }

var _ Releaser = appleRelease{}

// Release implements Releaser.
func (r appleRelease) Release(ctx context.Context, s Subject, commandUUID string) error {
	cmd, err := mdmcommand.DeviceConfigured(commandUUID)
	return enqueue(ctx, r.commander, s.EnrollmentID, commandUUID, cmd, err)
}

// AskAwaiting implements Releaser.
func (r appleRelease) AskAwaiting(ctx context.Context, s Subject, commandUUID string) error {
	cmd, err := mdmcommand.DeviceInformation(commandUUID, "AwaitingConfiguration")
	return enqueue(ctx, r.commander, s.EnrollmentID, commandUUID, cmd, err)
}

// ReadAwaiting implements Releaser.
func (appleRelease) ReadAwaiting(raw []byte) (storage.Awaiting, error) {
	awaiting, err := mdmcommand.ReadAwaitingConfiguration(raw)
	switch {
	case err != nil || awaiting == nil:
		return storage.AwaitingUnknown, err
	case *awaiting:
		return storage.AwaitingTrue, nil
	}
	return storage.AwaitingFalse, nil
}

// profiles does KindProfile items.
type profiles struct{ commander Commander }

var (
	_ Executor = profiles{}
	_ Prober   = profiles{}
)

// Dispatch implements Executor by InstallProfile.
func (x profiles) Dispatch(ctx context.Context, t Task) error {
	s, err := readSpec[ProfileSpec](t.Item)
	if err != nil {
		return err
	}
	cmd, err := mdmcommand.InstallProfile(t.ExecutionID, s.Payload)
	return enqueue(ctx, x.commander, t.Subject.EnrollmentID, t.ExecutionID, cmd, err)
}

// Probe implements Prober by ProfileList.
func (x profiles) Probe(ctx context.Context, s Subject, commandUUID string, _ []Item) error {
	cmd, err := mdmcommand.ProfileList(commandUUID)
	return enqueue(ctx, x.commander, s.EnrollmentID, commandUUID, cmd, err)
}

// Read implements Prober.
func (x profiles) Read(items []Item, raw []byte) (map[string]Presence, error) {
	listed, err := mdmcommand.ReadProfileList(raw)
	if err != nil {
		return nil, err
	}
	found := make(map[string]Presence, len(items))
	for _, it := range items {
		s, err := readSpec[ProfileSpec](it)
		if err != nil {
			return nil, err
		}
		found[it.ID] = Absent
		for _, p := range listed {
			if p.Identifier == s.Identifier && (s.UUID == "" || strings.EqualFold(p.UUID, s.UUID)) {
				found[it.ID] = Installed
			}
		}
	}
	return found, nil
}

// packages does KindPackage items.
type packages struct{ commander Commander }

var (
	_ Executor = packages{}
	_ Prober   = packages{}
)

// Dispatch implements Executor by InstallEnterpriseApplication.
func (x packages) Dispatch(ctx context.Context, t Task) error {
	s, err := readSpec[PackageSpec](t.Item)
	if err != nil {
		return err
	}
	cmd, err := mdmcommand.InstallEnterpriseApplication(t.ExecutionID, mdmcommand.Package{
		URL: s.URL, ChunkSize: s.ChunkSize, SHA256: s.SHA256,
		BundleID: s.BundleID, Version: s.BundleVersion, Title: t.Item.Title,
	})
	return enqueue(ctx, x.commander, t.Subject.EnrollmentID, t.ExecutionID, cmd, err)
}

// Probe implements Prober by InstalledApplicationList.
func (x packages) Probe(ctx context.Context, s Subject, commandUUID string, items []Item) error {
	var ids []string
	for _, it := range items {
		p, err := readSpec[PackageSpec](it)
		if err != nil {
			return err
		}
		ids = append(ids, p.BundleID)
	}
	slices.Sort(ids)
	cmd, err := mdmcommand.InstalledApplicationList(commandUUID, slices.Compact(ids))
	return enqueue(ctx, x.commander, s.EnrollmentID, commandUUID, cmd, err)
}

// Read implements Prober.
func (x packages) Read(items []Item, raw []byte) (map[string]Presence, error) {
	listed, err := mdmcommand.ReadInstalledApplicationList(raw)
	if err != nil {
		return nil, err
	}
	found := make(map[string]Presence, len(items))
	for _, it := range items {
		s, err := readSpec[PackageSpec](it)
		if err != nil {
			return nil, err
		}
		found[it.ID] = Absent
		for _, a := range listed {
			switch {
			case a.Identifier != s.BundleID:
			case s.BundleVersion != "" && a.Version != s.BundleVersion && a.ShortVersion != s.BundleVersion:
			case a.Installing:
				found[it.ID] = Installing
			default:
				found[it.ID] = Installed
			}
		}
	}
	return found, nil
}

// accounts does KindAccount items.
type accounts struct{ commander Commander }

// Dispatch implements Executor by AccountConfiguration.
func (x accounts) Dispatch(ctx context.Context, t Task) error {
	s, err := readSpec[AccountSpec](t.Item)
	if err != nil {
		return err
	}
	a := mdmcommand.Account{
		SkipPrimary: s.SkipPrimary, PrimaryRegular: s.PrimaryRegular, FullName: s.FullName, UserName: s.UserName,
		Lock: s.Lock, DontPrefill: s.DontPrefill, ManagedUser: s.ManagedUser,
	}
	if s.Admin != nil {
		a.Admin = &mdmcommand.Admin{
			ShortName: s.Admin.ShortName, FullName: s.Admin.FullName,
			PasswordHash: s.Admin.PasswordHash, Hidden: s.Admin.Hidden,
		}
	}
	cmd, err := mdmcommand.AccountConfiguration(t.ExecutionID, a)
	return enqueue(ctx, x.commander, t.Subject.EnrollmentID, t.ExecutionID, cmd, err)
}

// scripts does KindScript items: the agent finds them in its status.
type scripts struct{}

// Dispatch implements Executor. The commit that wrote the attempt has woken the agent already.
func (scripts) Dispatch(context.Context, Task) error { return nil }

// permanent reports whether trying again would not help.
func permanent(err error) bool { return errors.Is(err, ErrPermanent) }
