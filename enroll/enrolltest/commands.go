package enrolltest

import (
	"context"
	"fmt"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// Access rights of com.apple.mdm that commands need. A command that is not listed needs none.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/mdm
const (
	rightInspectProfiles = 1
	rightInstallProfiles = 2
	rightErase           = 8
	rightDeviceInfo      = 16
	rightInspectApps     = 256
	rightSecurity        = 1024
	rightApps            = 4096
)

// commandSpec says what a command needs and does.
type commandSpec struct {
	right   int
	macOnly bool
	run     func(d *Device, ctx context.Context, c Command) *report
}

func lookup(requestType string) (commandSpec, bool) {
	switch requestType {
	case "InstallProfile":
		return commandSpec{right: rightInstallProfiles, run: (*Device).installProfile}, true
	case "RemoveProfile":
		return commandSpec{right: rightInstallProfiles, run: (*Device).removeProfile}, true
	case "ProfileList":
		return commandSpec{right: rightInspectProfiles, run: (*Device).profileList}, true
	case "InstallEnterpriseApplication":
		return commandSpec{right: rightApps, macOnly: true, run: (*Device).installEnterpriseApplication}, true
	case "InstallApplication":
		return commandSpec{right: rightApps, run: (*Device).installApplication}, true
	case "ManagedApplicationList":
		return commandSpec{right: rightApps, run: (*Device).managedApplicationList}, true
	case "InstalledApplicationList":
		return commandSpec{right: rightInspectApps, run: (*Device).installedApplicationList}, true
	case "AccountConfiguration":
		return commandSpec{macOnly: true, run: (*Device).accountConfiguration}, true
	case "DeviceConfigured":
		return commandSpec{run: (*Device).deviceConfigured}, true
	case "DeviceInformation":
		return commandSpec{run: (*Device).deviceInformation}, true
	case "SecurityInfo":
		return commandSpec{right: rightSecurity, run: (*Device).securityInfo}, true
	case "DeclarativeManagement":
		return commandSpec{run: (*Device).declarativeManagement}, true
	case "RestartDevice":
		return commandSpec{run: (*Device).restartDevice}, true
	case "EraseDevice":
		return commandSpec{right: rightErase, run: (*Device).eraseDevice}, true
	}
	return commandSpec{}, false
}

// execute carries a command out.
func (d *Device) execute(ctx context.Context, c Command) *report {
	if c.RequestType == "" || c.UUID == "" {
		return formatError()
	}
	spec, ok := lookup(c.RequestType)
	if !ok || spec.macOnly && d.kind != Mac {
		return failure(12021, "MCMDMErrorDomain", fmt.Sprintf("“%s” is not a valid request type.", c.RequestType))
	}
	if e := d.enrollment(); !e.mdm.allows(spec.right) {
		return failure(12007, "MCMDMErrorDomain", "The MDM server does not have the access rights for this request.")
	}
	return spec.run(d, ctx, c)
}

func acknowledged(keys map[string]any) *report {
	return &report{Answer: Answer{Status: StatusAcknowledged}, keys: keys}
}

func formatError() *report { return &report{Answer: Answer{Status: StatusCommandFormatError}} }

// failure answers Error. Apart from 101 of MDMDeviceEnrollment, codes and domains have the form of real ones but are
// not promised to be those a device would use; Apple advises against logic that depends on them.
func failure(code int, domain, text string) *report {
	return &report{Answer: Answer{Status: StatusError, ErrorChain: []ErrorItem{
		{Code: code, Domain: domain, LocalizedDescription: text, USEnglishDescription: text},
	}}}
}

// notAwaiting is the answer of a device that is not, or no longer, held for the server.
func notAwaiting() *report {
	return failure(101, "MDMDeviceEnrollment", "The device is not in the AwaitingConfiguration state.")
}

// parameters reads the Command dictionary of c.
func parameters[T any](c Command) (T, error) {
	var doc struct{ Command T }
	err := plist.Unmarshal(c.Raw, &doc)
	return doc.Command, err
}

func (d *Device) declarativeManagement(context.Context, Command) *report { return acknowledged(nil) }

func (d *Device) restartDevice(context.Context, Command) *report {
	r := acknowledged(nil)
	r.after = func(context.Context) { d.rebooted() }
	return r
}

func (d *Device) eraseDevice(context.Context, Command) *report {
	r := acknowledged(nil)
	r.after = func(context.Context) { d.erased() }
	return r
}

// deviceConfigured ends the wait. The answer says so, and nothing else does: Apple does not document a TokenUpdate.
func (d *Device) deviceConfigured(context.Context, Command) *report {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.st.awaiting {
		return notAwaiting()
	}
	d.st.awaiting = false
	return acknowledged(nil)
}

func (d *Device) deviceInformation(_ context.Context, c Command) *report {
	p, err := parameters[struct{ Queries []string }](c)
	if err != nil || len(p.Queries) == 0 {
		return formatError()
	}
	rights := d.enrollment().mdm
	d.mu.Lock()
	defer d.mu.Unlock()
	known := map[string]any{
		"UDID": d.st.info.UDID, "SerialNumber": d.st.info.Serial, "OSVersion": d.st.info.OSVersion,
		"BuildVersion": d.st.info.Build, "ProductName": d.st.info.Product, "Model": d.hw.model, "ModelName": d.hw.modelName,
		"DeviceName": d.hw.name, "IsSupervised": true, "IsMultiUser": false, "AwaitingConfiguration": d.st.awaiting,
	}
	if v := d.st.info.SupplementalBuildVersion; v != "" {
		known["SupplementalBuildVersion"] = v
	}
	if d.kind == Mac {
		known["IsAppleSilicon"] = true
		known["AutoSetupAdminAccounts"] = d.adminAccounts()
	}
	out := map[string]any{}
	for _, q := range p.Queries {
		// Without the device information right a server learns what it knows from the check-in, and no more.
		if v, ok := known[q]; ok && (rights.allows(rightDeviceInfo) || q == "UDID" || q == "AwaitingConfiguration") {
			out[q] = v
		}
	}
	return acknowledged(map[string]any{"QueryResponses": out})
}

func (d *Device) securityInfo(context.Context, Command) *report {
	info := map[string]any{
		"ManagementStatus": map[string]any{
			"EnrolledViaDEP": true, "UserApprovedEnrollment": true, "IsUserEnrollment": false,
		},
	}
	if d.kind == Mac {
		info["FDE_Enabled"] = false
		info["SystemIntegrityProtectionEnabled"] = true
		info["BootstrapTokenAllowedForAuthentication"] = "allowed"
	} else {
		info["PasscodePresent"] = false
		info["HardwareEncryptionCaps"] = 3
	}
	return acknowledged(map[string]any{"SecurityInfo": info})
}
