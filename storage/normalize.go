package storage

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxKey is the length of the longest key or identifier, in bytes.
const MaxKey = 255

// ValidKey reports whether s can be a key: 1 to MaxKey bytes of valid UTF-8 without NUL.
func ValidKey(s string) bool {
	return s != "" && len(s) <= MaxKey && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0
}

// Time returns t as a backend stores it: UTC, cut to microseconds, the zero time for "unset".
func Time(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// Text returns s as a backend stores it: every byte that is not part of valid UTF-8, and every NUL, becomes U+FFFD.
func Text(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// CheckBatch returns ErrTooLarge if n is more than MaxBatch.
func CheckBatch(n int) error {
	if n > MaxBatch {
		return fmt.Errorf("%w: %d entries, at most %d", ErrTooLarge, n, MaxBatch)
	}
	return nil
}

// The Normalize methods below are the part of the contract that needs no database, for backends to begin a write with:
// each returns the record as it is stored, or ErrInvalid. What comes back shares its documents, and lists in which nothing had
// to change, with the argument.

// Normalize returns the account as a backend stores it, or ErrInvalid.
func (a Account) Normalize() (Account, error) {
	err := check("account", key("name", a.Name), ref("server UUID", a.ServerUUID), ref("key pair", a.KeyPairID),
		ref("health", string(a.Health)))
	cleanText(&a.BaseURL, &a.HealthReason)
	cleanTime(&a.TokenExpiresAt, &a.HealthSince, &a.LastOKAt, &a.CreatedAt, &a.UpdatedAt)
	cleanDocument(&a.SealedToken, &a.Detail)
	return a, err
}

// Normalize returns the key pair as a backend stores it, or ErrInvalid.
func (k KeyPair) Normalize() (KeyPair, error) {
	err := check("key pair", key("account", k.Account), key("ID", k.ID))
	cleanTime(&k.CreatedAt)
	cleanDocument(&k.Certificate, &k.SealedKey)
	return k, err
}

// Normalize returns the device as a backend stores it, or ErrInvalid.
func (d Device) Normalize() (Device, error) {
	_, err := d.normalize()
	return d, err
}

func (d *Device) normalize() (changed bool, err error) {
	err = check("device", key("account", d.Account), key("serial", d.Serial))
	texts := cleanText(&d.Model, &d.Family, &d.OS, &d.ProfileUUID, &d.ProfileStatus, &d.LeftReason)
	times := cleanTime(&d.ProfileAssignedAt, &d.ProfilePushedAt, &d.AssignedAt, &d.MigrationDeadline, &d.OpDate, &d.LeftAt,
		&d.FirstSeenAt, &d.UpdatedAt)
	document := cleanDocument(&d.Document)
	return texts || times || document, err
}

// Normalize returns the assignment as a backend stores it, or ErrInvalid.
func (a Assignment) Normalize() (Assignment, error) {
	_, err := a.normalize()
	return a, err
}

func (a *Assignment) normalize() (changed bool, err error) {
	err = check("assignment", key("account", a.Account), key("serial", a.Serial), ref("profile", a.Profile), ref("deferred", a.Deferred),
		ref("state", string(a.State)))
	texts := cleanText(&a.LastAttempt.ProfileUUID, &a.LastAttempt.Result, &a.LastAttempt.Error, &a.Problem)
	times := cleanTime(&a.NextAttemptAt, &a.LastAttempt.At, &a.SatisfiedAt, &a.ProblemSince, &a.UpdatedAt)
	return texts || times, err
}

// Normalize returns the profile as a backend stores it, or ErrInvalid.
func (p Profile) Normalize() (Profile, error) {
	err := check("profile", key("account", p.Account), key("fingerprint", p.Fingerprint))
	cleanText(&p.UUID)
	cleanTime(&p.DefinedAt, &p.CreatedAt)
	cleanDocument(&p.Document)
	return p, err
}

// Normalize returns the cursor as a backend stores it, or ErrInvalid.
func (c Cursor) Normalize() (Cursor, error) {
	err := check("cursor", key("account", c.Account), ref("phase", string(c.Phase)))
	cleanText(&c.Value, &c.Rules)
	cleanTime(&c.LastSyncAt, &c.LastSweepAt, &c.RolloutAt, &c.UpdatedAt)
	return c, err
}

// Normalize returns the session as a backend stores it, or ErrInvalid.
func (s ServiceSession) Normalize() (ServiceSession, error) {
	err := check("service session", key("account", s.Account))
	cleanTime(&s.UpdatedAt)
	cleanDocument(&s.SealedSession)
	return s, err
}

// Normalize returns the state as a backend stores it, or ErrInvalid.
func (n NanoDEP) Normalize() (NanoDEP, error) {
	err := check("nanodep state", key("account", n.Account), ref("staged key pair", n.StagedKeyPairID))
	cleanText(&n.Cursor, &n.AssignerProfileUUID)
	cleanTime(&n.AssignerModifiedAt, &n.UpdatedAt)
	return n, err
}

// Normalize returns the session as a backend stores it, or ErrInvalid.
func (s EnrollmentSession) Normalize() (EnrollmentSession, error) {
	err := check("session", key("ID", s.ID), ref("account", s.Account), ref("serial", s.Serial), ref("UDID", s.UDID),
		ref("state", string(s.State)))
	cleanText(&s.Product, &s.OSVersion, &s.Reason)
	cleanTime(&s.CreatedAt, &s.UpdatedAt, &s.ExpiresAt)
	cleanDocument(&s.User, &s.SealedFlow)
	return s, err
}

// Normalize returns the enrollment as a backend stores it, or ErrInvalid.
func (e Enrollment) Normalize() (Enrollment, error) {
	err := check("enrollment", key("ID", e.ID), ref("UDID", e.UDID), ref("serial", e.Serial), ref("account", e.Account),
		ref("session", e.SessionID), ref("state", string(e.State)), ref("awaiting", string(e.Awaiting)),
		ref("certificate hash", e.CertificateHash), ref("next certificate hash", e.NextCertificateHash))
	cleanText(&e.Product, &e.OSVersion)
	cleanTime(&e.AwaitingAt, &e.RenewingAt, &e.AuthenticatedAt, &e.EnrolledAt, &e.ProfilesAppliedAt, &e.ReleasedAt, &e.UnenrolledAt,
		&e.LastSeenAt, &e.UpdatedAt)
	cleanDocument(&e.User)
	return e, err
}

// Normalize returns the run as a backend stores it, or ErrInvalid.
func (r Run) Normalize() (Run, error) {
	err := check("run", key("ID", r.ID), key("enrollment", r.EnrollmentID), ref("account", r.Account),
		ref("serial", r.Serial), ref("state", r.State))
	cleanTime(&r.NextWakeAt, &r.CreatedAt, &r.UpdatedAt)
	cleanDocument(&r.Document)
	return r, err
}

// Normalize returns the effect as a backend stores it, or ErrInvalid.
func (e Effect) Normalize() (Effect, error) {
	_, err := e.normalize()
	return e, err
}

func (e *Effect) normalize() (changed bool, err error) {
	err = check("effect", key("ID", e.ID), key("run", e.RunID), ref("kind", e.Kind))
	if err == nil && e.DueAt.IsZero() {
		err = fmt.Errorf("%w: effect without DueAt", ErrInvalid)
	}
	texts := cleanText(&e.LastError)
	times := cleanTime(&e.DueAt, &e.CreatedAt)
	document := cleanDocument(&e.Document)
	return texts || times || document, err
}

// Normalize returns the activity as a backend stores it, or ErrInvalid. Seq is left for the store to give.
func (a Activity) Normalize() (Activity, error) {
	_, err := a.normalize()
	return a, err
}

func (a *Activity) normalize() (changed bool, err error) {
	err = check("activity", key("kind", a.Kind), ref("account", a.Account), ref("serial", a.Serial),
		ref("enrollment", a.EnrollmentID))
	seq := a.Seq != 0
	a.Seq = 0
	texts := cleanText(&a.Actor)
	times := cleanTime(&a.At)
	document := cleanDocument(&a.Detail)
	return seq || texts || times || document, err
}

// NormalizeActivities returns the activities as a backend stores them. It returns ErrTooLarge if they are more than
// MaxBatch, ErrInvalid if one of them is invalid.
func NormalizeActivities(acts []Activity) ([]Activity, error) {
	return normalizeAll(acts, (*Activity).normalize)
}

// Normalize returns the change as a backend stores it. It returns ErrTooLarge if one of the lists has more than
// MaxBatch entries, ErrInvalid if a record is invalid, names another account, or has a key twice.
func (c InventoryChange) Normalize() (InventoryChange, error) {
	if err := check("inventory change", key("account", c.Account)); err != nil {
		return c, err
	}
	var err error
	if c.Devices, err = normalizeAll(c.Devices, (*Device).normalize); err != nil {
		return c, err
	}
	if c.Assignments, err = normalizeAll(c.Assignments, (*Assignment).normalize); err != nil {
		return c, err
	}
	if c.Activities, err = NormalizeActivities(c.Activities); err != nil {
		return c, err
	}
	if c.Cursor != nil {
		cursor, err := c.Cursor.Normalize()
		if err != nil {
			return c, err
		}
		if cursor.Account != c.Account {
			return c, fmt.Errorf("%w: cursor of another account", ErrInvalid)
		}
		c.Cursor = &cursor
	}
	devices, assignments := make(map[string]bool, len(c.Devices)), make(map[string]bool, len(c.Assignments))
	for i := range c.Devices {
		if err := c.own("device", c.Devices[i].Account, c.Devices[i].Serial, devices); err != nil {
			return c, err
		}
	}
	for i := range c.Assignments {
		if err := c.own("assignment", c.Assignments[i].Account, c.Assignments[i].Serial, assignments); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *InventoryChange) own(noun, account, serial string, seen map[string]bool) error {
	if account != c.Account {
		return fmt.Errorf("%w: %s of another account", ErrInvalid, noun)
	}
	if seen[serial] {
		return fmt.Errorf("%w: %s %q twice", ErrInvalid, noun, serial)
	}
	seen[serial] = true
	return nil
}

// Normalize returns the change as a backend stores it. It returns ErrTooLarge if one of the lists has more than
// MaxBatch entries, ErrInvalid if a record is invalid or an effect is of another run.
func (c RunChange) Normalize() (RunChange, error) {
	var err error
	if c.Run, err = c.Run.Normalize(); err != nil {
		return c, err
	}
	if c.Effects, err = normalizeAll(c.Effects, (*Effect).normalize); err != nil {
		return c, err
	}
	for i := range c.Effects {
		if c.Effects[i].RunID != c.Run.ID {
			return c, fmt.Errorf("%w: effect %q of another run", ErrInvalid, c.Effects[i].ID)
		}
	}
	if c.Enrollment != nil {
		e, err := c.Enrollment.Normalize()
		if err != nil {
			return c, err
		}
		c.Enrollment = &e
	}
	c.Activities, err = NormalizeActivities(c.Activities)
	return c, err
}

// normalizeAll returns the list itself if nothing in it needs to change, as is usual; copying it would cost more than all else.
func normalizeAll[T any](in []T, normalize func(*T) (changed bool, err error)) ([]T, error) {
	if err := CheckBatch(len(in)); err != nil {
		return nil, err
	}
	out, copied := in, false
	var v T // one for all, as it is on the heap
	for i := range in {
		v = in[i]
		changed, err := normalize(&v)
		if err != nil {
			return nil, err
		}
		if changed && !copied {
			out, copied = slices.Clone(in), true
		}
		if changed {
			out[i] = v
		}
	}
	return out, nil
}

// check returns the first complaint, as ErrInvalid.
func check(noun string, complaints ...string) error {
	for _, c := range complaints {
		if c != "" {
			return fmt.Errorf("%w: %s %s", ErrInvalid, noun, c)
		}
	}
	return nil
}

func key(field, value string) string {
	if value == "" {
		return field + " is empty"
	}
	return ref(field, value)
}

func ref(field, value string) string {
	if value != "" && !ValidKey(value) {
		return fmt.Sprintf("%s is not at most %d bytes of UTF-8", field, MaxKey)
	}
	return ""
}

// The functions below report whether they have changed anything.

func cleanText(fields ...*string) (changed bool) {
	for _, f := range fields {
		if t := Text(*f); t != *f {
			*f, changed = t, true
		}
	}
	return changed
}

func cleanTime(fields ...*time.Time) (changed bool) {
	for _, f := range fields {
		if t := Time(*f); t != *f { // the form counts, not the instant
			*f, changed = t, true
		}
	}
	return changed
}

func cleanDocument(fields ...*[]byte) (changed bool) {
	for _, f := range fields {
		if len(*f) == 0 && *f != nil {
			*f, changed = nil, true
		}
	}
	return changed
}
