package sqlstore

import (
	"time"

	"github.com/enrollkit/enrollkit/storage"
)

// table says how records of one kind are kept. fields returns one value a column, in the order of the columns; it is
// what a row is scanned into and the arguments it is written with. The first columns are the key. A table with versions
// has them in its last column.
type table[T any] struct {
	name    string
	columns []string
	keys    int
	fields  func(*T) []any
}

func at(t *time.Time) timeField { return timeField{t} }

func doc(b *[]byte) docField { return docField{b} }

func accounts() table[storage.Account] {
	return table[storage.Account]{
		name: "enrollkit_accounts",
		columns: []string{
			"name", "server_uuid", "base_url", "key_pair_id", "sealed_token", "token_expires_at", "detail", "health",
			"health_reason", "health_since", "last_ok_at", "expiry_warned_days", "created_at", "updated_at", "version",
		},
		keys: 1,
		fields: func(a *storage.Account) []any {
			return []any{
				&a.Name, refField{&a.ServerUUID}, &a.BaseURL, &a.KeyPairID, doc(&a.SealedToken), at(&a.TokenExpiresAt),
				doc(&a.Detail), (*string)(&a.Health), &a.HealthReason, at(&a.HealthSince), at(&a.LastOKAt),
				&a.ExpiryWarnedDays, at(&a.CreatedAt), at(&a.UpdatedAt), &a.Version,
			}
		},
	}
}

func keyPairs() table[storage.KeyPair] {
	return table[storage.KeyPair]{
		name:    "enrollkit_key_pairs",
		columns: []string{"account", "id", "certificate", "sealed_key", "created_at"},
		keys:    2,
		fields: func(k *storage.KeyPair) []any {
			return []any{&k.Account, &k.ID, doc(&k.Certificate), doc(&k.SealedKey), at(&k.CreatedAt)}
		},
	}
}

func serviceSessions() table[storage.ServiceSession] {
	return table[storage.ServiceSession]{
		name:    "enrollkit_service_sessions",
		columns: []string{"account", "sealed_session", "token_digest", "updated_at", "version"},
		keys:    1,
		fields: func(s *storage.ServiceSession) []any {
			return []any{&s.Account, doc(&s.SealedSession), digestField{&s.TokenDigest}, at(&s.UpdatedAt), &s.Version}
		},
	}
}

func nanodepStates() table[storage.NanoDEP] {
	return table[storage.NanoDEP]{
		name: "enrollkit_nanodep",
		columns: []string{
			"account", "sync_cursor", "assigner_profile_uuid", "assigner_modified_at", "staged_key_pair_id", "updated_at",
			"version",
		},
		keys: 1,
		fields: func(n *storage.NanoDEP) []any {
			return []any{
				&n.Account, &n.Cursor, &n.AssignerProfileUUID, at(&n.AssignerModifiedAt), &n.StagedKeyPairID, at(&n.UpdatedAt),
				&n.Version,
			}
		},
	}
}

func devices() table[storage.Device] {
	return table[storage.Device]{
		name: "enrollkit_devices",
		columns: []string{
			"account", "serial", "model", "family", "os", "profile_uuid", "profile_status", "profile_assigned_at",
			"profile_pushed_at", "assigned_at", "migration_deadline", "op_date", "left_at", "left_reason", "digest",
			"first_seen_at", "updated_at", "document",
		},
		keys: 2,
		fields: func(d *storage.Device) []any {
			return []any{
				&d.Account, &d.Serial, &d.Model, &d.Family, &d.OS, &d.ProfileUUID, &d.ProfileStatus,
				at(&d.ProfileAssignedAt), at(&d.ProfilePushedAt), at(&d.AssignedAt), at(&d.MigrationDeadline), at(&d.OpDate),
				at(&d.LeftAt), &d.LeftReason, digestField{&d.Digest}, at(&d.FirstSeenAt), at(&d.UpdatedAt), doc(&d.Document),
			}
		},
	}
}

func assignments() table[storage.Assignment] {
	return table[storage.Assignment]{
		name: "enrollkit_assignments",
		columns: []string{
			"account", "serial", "profile", "deferred", "state", "next_attempt_at", "failures", "throttles", "attempt_at",
			"attempt_profile", "attempt_result", "attempt_error", "attempt_retry_after", "satisfied_at", "problem", "problem_since", "updated_at",
			"version",
		},
		keys: 2,
		fields: func(a *storage.Assignment) []any {
			return []any{
				&a.Account, &a.Serial, &a.Profile, &a.Deferred, (*string)(&a.State), at(&a.NextAttemptAt), &a.Failures, &a.Throttles,
				at(&a.LastAttempt.At), &a.LastAttempt.ProfileUUID, &a.LastAttempt.Result, &a.LastAttempt.Error,
				(*int64)(&a.LastAttempt.RetryAfter), at(&a.SatisfiedAt), &a.Problem, at(&a.ProblemSince),
				at(&a.UpdatedAt), &a.Version,
			}
		},
	}
}

func profiles() table[storage.Profile] {
	return table[storage.Profile]{
		name:    "enrollkit_profiles",
		columns: []string{"account", "fingerprint", "uuid", "defined_at", "created_at", "document"},
		keys:    2,
		fields: func(p *storage.Profile) []any {
			return []any{&p.Account, &p.Fingerprint, &p.UUID, at(&p.DefinedAt), at(&p.CreatedAt), doc(&p.Document)}
		},
	}
}

func cursors() table[storage.Cursor] {
	return table[storage.Cursor]{
		name: "enrollkit_cursors",
		columns: []string{
			"account", "value", "phase", "last_sync_at", "last_sweep_at", "loops", "rules", "rules_order", "rollout_at",
			"updated_at", "version",
		},
		keys: 1,
		fields: func(c *storage.Cursor) []any {
			return []any{
				&c.Account, &c.Value, (*string)(&c.Phase), at(&c.LastSyncAt), at(&c.LastSweepAt), &c.Loops, &c.Rules,
				&c.RulesOrder, at(&c.RolloutAt), at(&c.UpdatedAt), &c.Version,
			}
		},
	}
}

func sessions() table[storage.EnrollmentSession] {
	return table[storage.EnrollmentSession]{
		name: "enrollkit_sessions",
		columns: []string{
			"id", "account", "serial", "udid", "product", "os_version", "state", "reason", "user_info", "sealed_flow", "created_at",
			"updated_at", "expires_at", "version",
		},
		keys: 1,
		fields: func(s *storage.EnrollmentSession) []any {
			return []any{
				&s.ID, &s.Account, &s.Serial, &s.UDID, &s.Product, &s.OSVersion, (*string)(&s.State), &s.Reason, doc(&s.User),
				doc(&s.SealedFlow), at(&s.CreatedAt), at(&s.UpdatedAt), at(&s.ExpiresAt), &s.Version,
			}
		},
	}
}

func enrollments() table[storage.Enrollment] {
	return table[storage.Enrollment]{
		name: "enrollkit_enrollments",
		columns: []string{
			"id", "udid", "serial", "account", "session_id", "user_info", "product", "os_version", "state", "generation",
			"certificate_hash", "next_certificate_hash", "awaiting", "awaiting_at", "renewing_at", "authenticated_at", "enrolled_at", "profiles_applied_at", "released_at", "unenrolled_at",
			"last_seen_at", "updated_at", "version",
		},
		keys: 1,
		fields: func(e *storage.Enrollment) []any {
			return []any{
				&e.ID, &e.UDID, &e.Serial, &e.Account, &e.SessionID, doc(&e.User), &e.Product, &e.OSVersion,
				(*string)(&e.State), &e.Generation, &e.CertificateHash, &e.NextCertificateHash, (*string)(&e.Awaiting),
				at(&e.AwaitingAt), at(&e.RenewingAt), at(&e.AuthenticatedAt),
				at(&e.EnrolledAt), at(&e.ProfilesAppliedAt), at(&e.ReleasedAt), at(&e.UnenrolledAt), at(&e.LastSeenAt),
				at(&e.UpdatedAt), &e.Version,
			}
		},
	}
}

func runs() table[storage.Run] {
	return table[storage.Run]{
		name: "enrollkit_runs",
		columns: []string{
			"id", "enrollment_id", "generation", "account", "serial", "state", "live", "document", "next_wake_at",
			"created_at", "updated_at", "version",
		},
		keys: 1,
		fields: func(r *storage.Run) []any {
			return []any{
				&r.ID, &r.EnrollmentID, &r.Generation, &r.Account, &r.Serial, &r.State, boolField{&r.Live}, doc(&r.Document),
				at(&r.NextWakeAt), at(&r.CreatedAt), at(&r.UpdatedAt), &r.Version,
			}
		},
	}
}

func effects() table[storage.Effect] {
	return table[storage.Effect]{
		name:    "enrollkit_effects",
		columns: []string{"id", "run_id", "kind", "document", "due_at", "attempts", "last_error", "created_at"},
		keys:    1,
		fields: func(e *storage.Effect) []any {
			return []any{
				&e.ID, &e.RunID, &e.Kind, doc(&e.Document), at(&e.DueAt), &e.Attempts, &e.LastError, at(&e.CreatedAt),
			}
		},
	}
}

// activities has no version; seq is given by the database.
func activities() table[storage.Activity] {
	return table[storage.Activity]{
		name:    "enrollkit_activities",
		columns: []string{"seq", "at", "kind", "actor", "account", "serial", "enrollment_id", "detail"},
		keys:    1,
		fields: func(a *storage.Activity) []any {
			return []any{
				&a.Seq, at(&a.At), &a.Kind, &a.Actor, &a.Account, &a.Serial, &a.EnrollmentID, doc(&a.Detail),
			}
		},
	}
}
