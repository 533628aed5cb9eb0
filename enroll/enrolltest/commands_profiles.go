package enrolltest

import (
	"context"
	"slices"
)

// storeProfile installs p, or replaces the profile with its identifier in place; d.mu is held.
func (d *Device) storeProfile(p Profile) {
	i := slices.IndexFunc(d.st.profiles, func(q Profile) bool { return q.Identifier == p.Identifier })
	if i < 0 {
		d.st.profiles = append(d.st.profiles, p)
		return
	}
	d.st.profiles = slices.Clone(d.st.profiles)
	d.st.profiles[i] = p
}

func (d *Device) installProfile(ctx context.Context, c Command) *report {
	params, err := parameters[struct{ Payload []byte }](c)
	if err != nil || len(params.Payload) == 0 {
		return formatError()
	}
	p, err := parseProfile(params.Payload)
	if err != nil {
		return failure(1000, "MCProfileErrorDomain", err.Error())
	}
	p.Managed = true
	e := d.enrollment()
	if !p.has(payloadMDM) {
		if p.Identifier == e.profile.Identifier {
			return failure(4001, "MCInstallationErrorDomain", "The profile would replace the MDM profile and is none.")
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.storeProfile(*p)
		return acknowledged(nil)
	}
	// A profile that replaces the enrollment profile runs check-in again; the device keeps the old one if that fails.
	if p.Identifier != e.profile.Identifier {
		return failure(4001, "MCInstallationErrorDomain", "Another MDM profile is already installed.")
	}
	if err := d.enroll(ctx, p, d.Awaiting()); err != nil {
		return failure(4001, "MCInstallationErrorDomain", err.Error())
	}
	return acknowledged(nil)
}

func (d *Device) removeProfile(_ context.Context, c Command) *report {
	params, err := parameters[struct{ Identifier string }](c)
	if err != nil || params.Identifier == "" {
		return formatError()
	}
	if e := d.enrollment(); params.Identifier == e.profile.Identifier {
		r := acknowledged(nil)
		r.after = func(ctx context.Context) { d.leave(ctx, e, "removed by the server") }
		return r
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.st.profiles, func(p Profile) bool { return p.Identifier == params.Identifier && p.Managed })
	if i < 0 {
		return failure(12010, "MCMDMErrorDomain", "The profile “"+params.Identifier+"” is not installed or not managed.")
	}
	d.st.profiles = slices.Delete(slices.Clone(d.st.profiles), i, i+1)
	return acknowledged(nil)
}

func (d *Device) profileList(_ context.Context, c Command) *report {
	params, err := parameters[struct{ ManagedOnly bool }](c)
	if err != nil {
		return formatError()
	}
	list := []map[string]any{}
	for _, p := range d.Profiles() {
		if params.ManagedOnly && !p.Managed {
			continue
		}
		entry := map[string]any{
			"PayloadIdentifier": p.Identifier, "PayloadUUID": p.UUID, "PayloadVersion": p.Version,
			"PayloadDisplayName": p.DisplayName, "PayloadOrganization": p.Organization, "PayloadDescription": p.Description,
			"PayloadRemovalDisallowed": p.RemovalDisallowed, "HasRemovalPasscode": false, "IsEncrypted": false,
		}
		if d.kind != Mac {
			entry["IsManaged"] = p.Managed
		}
		payloads := []map[string]any{}
		for _, pl := range p.Payloads {
			payloads = append(payloads, map[string]any{
				"PayloadType": pl.Type, "PayloadIdentifier": pl.Identifier, "PayloadVersion": pl.Version,
				"PayloadDisplayName": pl.DisplayName,
			})
		}
		entry["PayloadContent"] = payloads
		signers := [][]byte{}
		for _, s := range p.Signers {
			signers = append(signers, s.Raw)
		}
		entry["SignerCertificates"] = signers
		list = append(list, entry)
	}
	return acknowledged(map[string]any{"ProfileList": list})
}
