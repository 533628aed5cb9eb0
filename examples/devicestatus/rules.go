package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/depprofile"
)

// maxFile limits a file of rules, or of a profile, in bytes.
const maxFile = 64 << 20

// rulesFile is a file of rules; see the usage.
type rulesFile struct {
	Order int64       `json:"order"`
	Rules []fileEntry `json:"rules"`
}

type fileEntry struct {
	Name      string          `json:"name"`
	Accounts  []string        `json:"accounts"`
	Serials   []string        `json:"serials"`
	Families  []string        `json:"families"`
	Models    []string        `json:"models"`
	AssetTags []string        `json:"assetTags"`
	Profile   json.RawMessage `json:"profile"`
	Rollout   *fileRollout    `json:"rollout"`
}

// fileRollout is a staged roll-out; percent counts as 100 if it is left out.
type fileRollout struct {
	Percent *float64 `json:"percent"`
	PerHour int      `json:"perHour"`
}

func (r *fileRollout) rollout() *abm.Rollout {
	if r == nil {
		return nil
	}
	out := &abm.Rollout{Percent: 100, PerHour: r.PerHour}
	if r.Percent != nil {
		out.Percent = *r.Percent
	}
	return out
}

// readRules returns the rules of a file, or those that give all devices the profile in it. Its errors are errUsage, all
// complaints about all profiles together.
func readRules(name string) (abm.Resolver, error) {
	doc, err := readFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w; %w", err, errUsage)
	}
	r, err := parseRules(doc, filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%w", name, err, errUsage)
	}
	return r, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name) //nolint:gosec // the person who runs the program names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	doc, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(doc) > maxFile {
		err = fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
	}
	return doc, err
}

func parseRules(doc []byte, dir string) (abm.Resolver, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(doc, &keys); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if _, ok := keys["rules"]; !ok {
		p, err := parseProfile(doc)
		if err != nil {
			return nil, err
		}
		return abm.ForAll(p)
	}
	var file rulesFile
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields() // a list with a typo would not narrow
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	rules := abm.StaticRules{Order: file.Order}
	var wrong error
	for i, e := range file.Rules {
		if e.Name == "" {
			e.Name = fmt.Sprintf("rule %d", i+1)
		}
		p, err := profileOf(e.Profile, dir)
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", e.Name, err))
		}
		rules.Rules = append(rules.Rules, abm.Rule{
			Name: e.Name, Accounts: e.Accounts, Serials: e.Serials, Families: e.Families, Models: e.Models, AssetTags: e.AssetTags,
			Profile: p, Rollout: e.Rollout.rollout(),
		})
	}
	if wrong != nil {
		return nil, wrong
	}
	return abm.NewStaticResolver(rules)
}

// profileOf returns the profile that a rule writes out or names the file of; nil if it has none.
func profileOf(v json.RawMessage, dir string) (*depprofile.Profile, error) {
	if len(v) == 0 || string(v) == "null" {
		return nil, nil
	}
	var file string
	if json.Unmarshal(v, &file) != nil {
		return parseProfile(v)
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	doc, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return parseProfile(doc)
}

// parseProfile returns a valid profile.
func parseProfile(doc []byte) (*depprofile.Profile, error) {
	p, err := depprofile.Parse(doc)
	if err != nil {
		return nil, err
	}
	return p, p.Validate()
}
