package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/enrollkit/enrollkit/abm/abmtest"
)

// faultFlags collects -fault, which may be given several times.
type faultFlags []abmtest.Fault

func (f *faultFlags) String() string { return "" }

func (f *faultFlags) Set(text string) error {
	fault, err := parseFault(text)
	*f = append(*f, fault)
	return err
}

// parseFault reads "kind,key=value,…". The keys are those of the fault's JSON form, and so are the values, except that
// strings go without quotes and a plus sign separates serial numbers. What JSON has no room for on a command line, such
// as a body with a comma, can be set through the administration API.
func parseFault(text string) (abmtest.Fault, error) {
	kind, rest, _ := strings.Cut(text, ",")
	members := map[string]any{"kind": kind}
	for rest != "" {
		var pair string
		pair, rest, _ = strings.Cut(rest, ",")
		key, value, ok := strings.Cut(pair, "=")
		if _, twice := members[key]; !ok || twice {
			return abmtest.Fault{}, fmt.Errorf("fault %q: want key=value, each key once, not %q", text, pair)
		}
		switch key {
		case "count", "probability", "applied", "status", "retry_after_date", "bytes":
			members[key] = json.RawMessage(value)
		case "serials":
			members[key] = strings.Split(value, "+")
		case "value":
			if members[key] = value; json.Valid([]byte(value)) {
				members[key] = json.RawMessage(value)
			}
		default:
			members[key] = value
		}
	}
	var fault abmtest.Fault
	data, err := json.Marshal(members)
	if err == nil {
		err = json.Unmarshal(data, &fault)
	}
	if err != nil {
		return abmtest.Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return fault, nil
}

// faultHelp lists the kinds of faults, a line each.
func faultHelp() string {
	var b strings.Builder
	for _, info := range abmtest.FaultKinds() {
		fmt.Fprintf(&b, "  %-22s %s\n", info.Kind, info.Help)
		if len(info.Fields) > 0 {
			fmt.Fprintf(&b, "  %-22s [%s]\n", "", strings.Join(info.Fields, " "))
		}
	}
	return b.String()
}
