package setupexp

import (
	"encoding/json"
	"time"
)

// ProfileSpec is the Spec of a KindProfile item.
type ProfileSpec struct {
	// Payload is the configuration profile, signed or not.
	Payload []byte `json:"payload"`
	// Identifier is the profile's PayloadIdentifier. ProofPresent looks for it in the device's ProfileList.
	Identifier string `json:"identifier"`
	// UUID is the profile's PayloadUUID; if it is not empty it has to match too.
	UUID string `json:"uuid,omitempty"`
}

// PackageSpec is the Spec of a KindPackage item: a signed distribution package behind an https URL.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/install-enterprise-application-command
type PackageSpec struct {
	URL string `json:"url"`
	// Size is the package's length in bytes. Attempts get one more second for each MiB.
	Size int64 `json:"size"`
	// ChunkSize is how many bytes each hash covers; the last chunk may be shorter. It is Size when there is one hash.
	ChunkSize int64 `json:"chunk_size"`
	// SHA256 are the hex digests of the chunks, in order. [HashPackage] computes them.
	SHA256 []string `json:"sha256"`
	// BundleID and BundleVersion are the application the package installs. ProofPresent looks for them in the device's
	// InstalledApplicationList; an empty version matches any.
	BundleID      string `json:"bundle_id"`
	BundleVersion string `json:"bundle_version,omitempty"`
}

// ScriptSpec is the Spec of a KindScript item.
type ScriptSpec struct {
	// Body is the script, beginning with "#!".
	Body string `json:"body"`
}

// AccountSpec is the Spec of a KindAccount item: Apple's AccountConfiguration.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/account-configuration-command
type AccountSpec struct {
	// Admin is the administrator that is created; nil for none.
	Admin *AdminAccount `json:"admin,omitempty"`
	// SkipPrimary leaves out the user's own account. It needs Admin.
	SkipPrimary bool `json:"skip_primary,omitempty"`
	// PrimaryRegular makes the user's own account a standard one. It needs Admin.
	PrimaryRegular bool `json:"primary_regular,omitempty"`
	// FullName and UserName fill in the user's account pane; Lock keeps the user from changing them.
	FullName string `json:"full_name,omitempty"`
	UserName string `json:"user_name,omitempty"`
	Lock     bool   `json:"lock,omitempty"`
	// DontPrefill keeps macOS from filling in the account pane by itself. It contradicts Lock, FullName and UserName.
	DontPrefill bool `json:"dont_prefill,omitempty"`
	// ManagedUser is the short name of the local account that becomes the managed user.
	ManagedUser string `json:"managed_user,omitempty"`
}

// AdminAccount is a local administrator.
type AdminAccount struct {
	ShortName string `json:"short_name"`
	FullName  string `json:"full_name,omitempty"`
	// PasswordHash is what [HashPassword] makes.
	PasswordHash []byte `json:"password_hash"`
	Hidden       bool   `json:"hidden,omitempty"`
}

// Phases of the built-in kinds. Within a lane, ready items of a lower phase go first; a phase is no barrier.
const (
	PhaseFirst      = 0 // what works only while the device waits
	PhaseAgent      = 1 // the agent and critical profiles
	PhaseProfiles   = 3
	PhasePackages   = 5
	PhaseScripts    = 6
	PhaseBackground = 7
)

// Profile returns an item that installs a configuration profile: blocking, 2 attempts of 2 minutes, proven by the
// device's list of profiles. identifier is the profile's PayloadIdentifier. Change the fields that should differ.
func Profile(id, title, identifier string, payload []byte) Item {
	return Item{
		ID: id, Kind: KindProfile, Title: title, Class: Blocking, Phase: PhaseProfiles, Lane: LaneMDM,
		Timeout: 2 * time.Minute, MaxAttempts: 2, Proof: ProofPresent,
		Spec: spec(ProfileSpec{Payload: payload, Identifier: identifier}),
	}
}

// Package returns an item that installs a package: blocking, 3 attempts of 10 minutes and a second for each MiB. proof
// says what counts as success; see the proofs for what each of them shows of a package.
func Package(id, title string, proof Proof, p PackageSpec) Item {
	return Item{
		ID: id, Kind: KindPackage, Title: title, Class: Blocking, Phase: PhasePackages, Lane: LaneInstaller,
		Timeout: 10*time.Minute + time.Duration(max(p.Size, 0)>>20)*time.Second, MaxAttempts: 3, Proof: proof,
		Spec: spec(p),
	}
}

// AgentPackage returns the item that installs the agent: a required package of phase 1 that has succeeded once the
// agent says hello. It has 2 attempts of 150 seconds and a second for each MiB: an agent that has not come by then is
// installed once more.
func AgentPackage(id, title string, p PackageSpec) Item {
	it := Package(id, title, ProofAgent, p)
	it.Class, it.Phase, it.Agent, it.MaxAttempts = Required, PhaseAgent, true, 2
	it.Timeout -= 10*time.Minute - 150*time.Second
	return it
}

// Script returns an item that has the agent run a script: blocking, 1 attempt of 5 minutes.
func Script(id, title, body string) Item {
	return Item{
		ID: id, Kind: KindScript, Title: title, Class: Blocking, Phase: PhaseScripts, Lane: LaneScript,
		Timeout: 5 * time.Minute, MaxAttempts: 1, Proof: ProofAcknowledged, Capability: CapabilityScripts,
		Spec: spec(ScriptSpec{Body: body}),
	}
}

// Account returns an item that configures the local accounts of a Mac: blocking, first of all, and before the device
// is released, as it works only while the device waits.
func Account(id, title string, a AccountSpec) Item {
	return Item{
		ID: id, Kind: KindAccount, Title: title, Class: Blocking, Phase: PhaseFirst, Lane: LaneMDM,
		Timeout: 2 * time.Minute, MaxAttempts: 2, Proof: ProofAcknowledged, AwaitOnly: true,
		Spec: spec(a),
	}
}

// spec is the JSON of one of the types above, which hold nothing JSON cannot.
func spec(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // refused by Validate
	}
	return b
}
