package enrolltest

import (
	"context"
	"slices"
	"strconv"
)

// App is an app that InstallApplication installed.
type App struct {
	// Identifier is the bundle id. For an app named by its store id alone it is made up: "store." and the id.
	Identifier string
	// StoreID is the iTunesStoreID, 0 if the command had none.
	StoreID int64
	// Status is what ManagedApplicationList says.
	Status string
}

// installApplication installs an app of the store, at once: no store is asked, and none refuses. Apps by ManifestURL,
// which are for in-house apps on iOS, are not simulated.
func (d *Device) installApplication(_ context.Context, c Command) *report {
	p, err := parameters[struct {
		ITunesStoreID int64 `plist:"iTunesStoreID"`
		Identifier    string
		ManifestURL   string
	}](c)
	if err != nil || p.ITunesStoreID == 0 && p.Identifier == "" && p.ManifestURL == "" {
		return formatError()
	}
	if p.ManifestURL != "" {
		r := failure(12000, "MCMDMErrorDomain", "ManifestURL is not simulated.")
		r.keys = map[string]any{"RejectionReason": "NotSupported"}
		return r
	}
	app := App{Identifier: p.Identifier, StoreID: p.ITunesStoreID, Status: "Managed"}
	if app.Identifier == "" {
		app.Identifier = "store." + strconv.FormatInt(p.ITunesStoreID, 10)
	}
	d.mu.Lock()
	if i := slices.IndexFunc(d.st.apps, func(a App) bool { return a.Identifier == app.Identifier }); i >= 0 {
		d.st.apps = slices.Delete(slices.Clone(d.st.apps), i, i+1)
	}
	d.st.apps = append(d.st.apps, app)
	d.mu.Unlock()
	r := acknowledged(map[string]any{"Identifier": app.Identifier, "State": "Installing"})
	r.after = func(context.Context) { d.emit(Event{Kind: EventPackage, Detail: app.Identifier}) }
	return r
}

func (d *Device) managedApplicationList(context.Context, Command) *report {
	list := map[string]any{}
	for _, a := range d.Apps() {
		list[a.Identifier] = map[string]any{"Status": a.Status, "ManagementFlags": 0}
	}
	return acknowledged(map[string]any{"ManagedApplicationList": list})
}

func (d *Device) installedApplicationList(context.Context, Command) *report {
	list := []map[string]any{}
	for _, p := range d.Packages() {
		if p.Err == nil {
			list = append(list, map[string]any{"Identifier": p.Identifier, "Name": p.Title, "Version": p.Version})
		}
	}
	for _, a := range d.Apps() {
		list = append(list, map[string]any{"Identifier": a.Identifier, "Name": a.Identifier})
	}
	return acknowledged(map[string]any{"InstalledApplicationList": list})
}
