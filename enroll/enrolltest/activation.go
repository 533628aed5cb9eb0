package enrolltest

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// ActivationSource stands for Apple's activation service: it knows which enrollment ("DEP") profile a serial number
// is assigned. Implementations must be safe for concurrent use when several devices share one.
type ActivationSource interface {
	// ActivationRecord returns the profile as JSON with the keys of Apple's device assignment API (url,
	// configuration_web_url, await_device_configured, anchor_certs, ...). It returns [ErrNoProfile] for a device that
	// no server manages; an empty profile counts as that. Any other error stops Setup Assistant.
	//
	// Apple: https://developer.apple.com/documentation/devicemanagement/profile
	ActivationRecord(ctx context.Context, serial string) (profileJSON []byte, err error)
}

// ActivationFunc is a function that is an [ActivationSource].
type ActivationFunc func(ctx context.Context, serial string) ([]byte, error)

// ActivationRecord calls f.
func (f ActivationFunc) ActivationRecord(ctx context.Context, serial string) ([]byte, error) {
	return f(ctx, serial)
}

// activationRecord holds the keys of a profile that change what a device does. The others (skip_setup_items,
// department, ...) change what the user sees, which is not simulated.
type activationRecord struct {
	URL                   string   `json:"url"`
	ConfigurationWebURL   string   `json:"configuration_web_url"`
	AwaitDeviceConfigured bool     `json:"await_device_configured"`
	IsReturnToService     bool     `json:"is_return_to_service"`
	IsSupervised          bool     `json:"is_supervised"`
	IsMultiUser           bool     `json:"is_multi_user"`
	IsMDMRemovable        *bool    `json:"is_mdm_removable"` // default true
	AnchorCerts           []string `json:"anchor_certs"`

	anchors []*x509.Certificate
}

// awaits reports whether the device holds in Setup Assistant after enrollment; is_return_to_service, which only iOS and
// iPadOS know, implies it.
func (r activationRecord) awaits(k Kind) bool {
	return r.AwaitDeviceConfigured || r.IsReturnToService && k != Mac
}

func (r activationRecord) removable() bool { return r.IsMDMRemovable == nil || *r.IsMDMRemovable }

// activate fetches the record; ok is false if no server manages the device.
func (d *Device) activate(ctx context.Context) (rec activationRecord, ok bool, err error) {
	raw, err := d.source.ActivationRecord(ctx, d.Serial())
	if errors.Is(err, ErrNoProfile) || err == nil && len(raw) == 0 {
		return rec, false, nil
	}
	if err != nil {
		return rec, false, &SetupError{Step: StepActivation, Err: err}
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		return rec, false, &SetupError{Step: StepActivation, Err: fmt.Errorf("read profile: %w", err)}
	}
	for _, a := range rec.AnchorCerts {
		der, err := base64.StdEncoding.DecodeString(a)
		if err != nil {
			return rec, false, &SetupError{Step: StepActivation, Err: fmt.Errorf("anchor_certs: %w", err)}
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return rec, false, &SetupError{Step: StepActivation, Err: fmt.Errorf("anchor_certs: %w", err)}
		}
		rec.anchors = append(rec.anchors, c)
	}
	if rec.URL == "" && rec.ConfigurationWebURL == "" {
		return rec, false, &SetupError{Step: StepActivation, Err: errors.New("the profile has no url")}
	}
	return rec, true, nil
}
