package swiftdialog

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/enrollkit/enrollkit/setupexp"
)

// row is what a list row shows.
type row struct {
	keyword string // swiftDialog's status
	percent int    // shown instead of the keyword if positive
	text    string
}

func (r row) status() string {
	if r.percent > 0 {
		return "progress"
	}
	return r.keyword
}

// fields is the row as fields of a list command.
func (r row) fields() string {
	if r.percent > 0 {
		return fmt.Sprintf("progress: %d, statustext: %s", r.percent, r.text)
	}
	return fmt.Sprintf("status: %s, statustext: %s", r.keyword, r.text)
}

// row chooses what to show of an item.
func (d *Dialog) row(it setupexp.ItemView) row {
	text := func(key string) string { return clean(d.settings.texts[key]) }
	switch it.State {
	case setupexp.ItemGating, setupexp.ItemDispatched, setupexp.ItemAccepted:
		return row{keyword: "wait", percent: min(it.Percent, 100), text: text("item.running")}
	case setupexp.ItemVerifying:
		return row{keyword: "wait", text: text("item.checking")}
	case setupexp.ItemBackoff:
		t := d.settings.texts["item.retrying"]
		if strings.Count(t, "%d") == 2 && strings.Count(t, "%") == 2 {
			t = fmt.Sprintf(t, it.Attempt+1, it.Max)
		}
		return row{keyword: "wait", text: clean(t)}
	case setupexp.ItemParked:
		return row{keyword: "pending", text: text("item.busy")}
	case setupexp.ItemSucceeded:
		return row{keyword: "success", text: text("item.done")}
	case setupexp.ItemSkipped:
		return row{keyword: "success", text: text("item.skipped")}
	case setupexp.ItemFailed:
		if !it.Required {
			return row{keyword: "error", text: text("item.failed_soft")}
		}
		t := d.settings.texts["item.failed"]
		if it.Reason != "" {
			t += " (" + string(it.Reason) + ")"
		}
		return row{keyword: "fail", text: clean(t)}
	case setupexp.ItemDeferred:
		return row{keyword: "pending", text: text("item.background")}
	case setupexp.ItemCancelled:
		return row{keyword: "error", text: text("item.cancelled")}
	}
	return row{keyword: "pending", text: text("item.waiting")}
}

// maxText is the most characters of a text; lines have to stay short to be read in one piece.
const maxText = 80

// clean makes a text harmless to swiftDialog's parser, and keeps it readable.
func clean(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == ',':
			r = '\u201A' // looks the same
		case r == '{', r == '[':
			r = '('
		case r == '}', r == ']':
			r = ')'
		case r == '<':
			r = '\u2039'
		case r == '>':
			r = '\u203A'
		case r == '\\':
			r = '/'
		case unicode.IsSpace(r), unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp):
			r = ' '
		case unicode.In(r, unicode.Cf): // invisible ones: they would hide that two titles differ
			continue
		}
		b.WriteRune(r)
		if n++; n == maxText {
			break
		}
	}
	out := strings.Join(strings.Fields(b.String()), " ")
	for strings.Contains(out, ": ") {
		out = strings.ReplaceAll(out, ": ", " - ")
	}
	out = strings.Trim(out, ": ")
	if out == "" {
		return "-"
	}
	return out
}

// reserved are the words that mean something to the parser when they stand where a title does.
func reserved() []string {
	return []string{
		"title", "index", "status", "statustext", "subtitle", "icon", "progress", "action", "add", "delete",
		"show", "hide", "clear", "listitem", "list",
	}
}

// titles returns the titles of the rows: harmless, and each one different from the others also in lower case.
func titles(v setupexp.View) []string {
	taken := make(map[string]bool, len(v.Items)+16)
	for _, w := range reserved() {
		taken[w] = true
	}
	names := make([]string, len(v.Items))
	for i, it := range v.Items {
		base := clean(it.Title)
		name := base
		for n := 2; taken[strings.ToLower(name)]; n++ {
			name = base + " (" + strconv.Itoa(n) + ")"
		}
		taken[strings.ToLower(name)] = true
		names[i] = name
	}
	return names
}

// valid reports whether a line may be written: one line of valid text.
func valid(line string) bool {
	return line != "" && len(line) < 1024 && utf8.ValidString(line) && !strings.ContainsFunc(line, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	})
}
