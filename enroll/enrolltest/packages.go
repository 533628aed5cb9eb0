package enrolltest

import (
	"context"
	"crypto/md5" //nolint:gosec // manifests may carry it
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// Package is what InstallEnterpriseApplication installed, or failed to.
type Package struct {
	// Identifier, Version and Title come from the manifest's metadata.
	Identifier, Version, Title string
	// URL is where the package was downloaded from.
	URL string
	// Hash is what its content was checked with: "sha256", "sha256s", "md5", "md5s" or "none".
	Hash string
	// Size is in bytes.
	Size int64
	// Managed is true if the command asked for InstallAsManaged.
	Managed bool
	// Content is the package itself; only the value given to WithOnPackageInstalled has it.
	Content []byte
	// Err is why the package is not installed. Real devices do not tell the server.
	Err error
}

// manifest describes what to download.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/manifesturl
type manifest struct {
	Items []struct {
		Assets   []asset `plist:"assets"`
		Metadata struct {
			Identifier string `plist:"bundle-identifier"`
			Version    string `plist:"bundle-version"`
			Kind       string `plist:"kind"`
			Title      string `plist:"title"`
		} `plist:"metadata"`
	} `plist:"items"`
}

type asset struct {
	Kind       string   `plist:"kind"`
	URL        string   `plist:"url"`
	SHA256     string   `plist:"sha256"`
	SHA256Size int      `plist:"sha256-size"`
	SHA256s    []string `plist:"sha256s"`
	MD5        string   `plist:"md5"`
	MD5Size    int      `plist:"md5-size"`
	MD5s       []string `plist:"md5s"`
}

// installEnterpriseApplication is acknowledged as soon as it is understood; download and installation follow once the
// server has the answer, and their failure is not reported.
func (d *Device) installEnterpriseApplication(_ context.Context, c Command) *report {
	p, err := parameters[struct {
		Manifest         *manifest
		ManifestURL      string
		InstallAsManaged bool
	}](c)
	if err != nil || (p.Manifest == nil) == (p.ManifestURL == "") {
		return formatError()
	}
	if p.ManifestURL != "" {
		if _, err := checkURL(p.ManifestURL); err != nil {
			return failure(12000, "MCMDMErrorDomain", "ManifestURL: "+err.Error())
		}
	}
	r := acknowledged(nil)
	r.after = func(ctx context.Context) {
		d.jobs.Go(func() {
			d.instMu.Lock()
			defer d.instMu.Unlock()
			d.installPackages(ctx, p.Manifest, p.ManifestURL, p.InstallAsManaged)
		})
	}
	return r
}

func (d *Device) installPackages(ctx context.Context, m *manifest, manifestURL string, managed bool) {
	if m == nil {
		var err error
		if m, err = d.fetchManifest(ctx, manifestURL); err != nil {
			d.packageDone(ctx, Package{URL: manifestURL, Managed: managed, Err: err})
			return
		}
	}
	for _, item := range m.Items {
		p := Package{
			Identifier: item.Metadata.Identifier, Version: item.Metadata.Version, Title: item.Metadata.Title, Managed: managed,
		}
		if item.Metadata.Kind != "software" || p.Identifier == "" || p.Title == "" {
			p.Err = errors.New("manifest: metadata needs kind software, bundle-identifier and title")
		} else {
			d.download(ctx, &p, item.Assets)
		}
		d.packageDone(ctx, p)
	}
}

func (d *Device) fetchManifest(ctx context.Context, url string) (*manifest, error) {
	a, err := d.get(ctx, url, maxDocument)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	var m manifest
	if err := plist.Unmarshal(a.body, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if len(m.Items) == 0 {
		return nil, errors.New("manifest: no items")
	}
	return &m, nil
}

func (d *Device) download(ctx context.Context, p *Package, assets []asset) {
	for _, as := range assets {
		if as.Kind != "software-package" {
			continue
		}
		p.URL = as.URL
		a, err := d.get(ctx, as.URL, maxPackage)
		if err != nil {
			p.Err = err
			return
		}
		p.Size, p.Content = int64(len(a.body)), a.body
		p.Hash, p.Err = as.verify(a.body)
		return
	}
	p.Err = errors.New("manifest: no software-package")
}

// verify compares the content with the manifest's hashes: SHA-256 if it is there, else MD5.
func (as asset) verify(content []byte) (kind string, err error) {
	sumSHA := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	sumMD5 := func(b []byte) string { s := md5.Sum(b); return hex.EncodeToString(s[:]) } //nolint:gosec // see above
	switch {
	case as.SHA256 != "":
		return "sha256", verifyChunks(content, len(content), []string{as.SHA256}, sumSHA)
	case len(as.SHA256s) > 0:
		return "sha256s", verifyChunks(content, as.SHA256Size, as.SHA256s, sumSHA)
	case as.MD5 != "":
		return "md5", verifyChunks(content, len(content), []string{as.MD5}, sumMD5)
	case len(as.MD5s) > 0:
		return "md5s", verifyChunks(content, as.MD5Size, as.MD5s, sumMD5)
	}
	return "none", nil
}

func verifyChunks(content []byte, size int, want []string, sum func([]byte) string) error {
	if size <= 0 && len(content) > 0 {
		return errors.New("manifest: hashes without a chunk size")
	}
	for i, w := range want {
		chunk := content[:min(size, len(content))]
		content = content[len(chunk):]
		if !strings.EqualFold(sum(chunk), w) {
			return fmt.Errorf("package does not match hash %d of the manifest", i+1)
		}
	}
	if len(content) > 0 {
		return errors.New("package is longer than the manifest's hashes cover")
	}
	return nil
}

// packageDone records a package and tells the host.
func (d *Device) packageDone(ctx context.Context, p Package) {
	kept := p
	kept.Content = nil
	d.mu.Lock()
	wiped := errors.Is(d.st.gone, ErrErased)
	if !wiped {
		d.st.packages = append(d.st.packages, kept)
	}
	d.mu.Unlock()
	if wiped {
		return
	}
	if p.Err != nil {
		d.emit(Event{Kind: EventPackageFailed, Detail: p.URL, Err: p.Err})
		return
	}
	d.emit(Event{Kind: EventPackage, Detail: p.Identifier})
	if d.set.onPackage != nil {
		d.set.onPackage(ctx, d, p)
	}
}
