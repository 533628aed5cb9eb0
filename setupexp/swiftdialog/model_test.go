package swiftdialog_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// window is a model of swiftDialog's window and of its command parser, with the parser's known faults. It was written
// from the parser's observed behavior (swiftDialog 3.1.0), not from the encoder.
type window struct {
	rows         []*windowRow
	progress     int // 0: indeterminate
	progressText string
	button1      bool
	quit         bool
}

type windowRow struct {
	Title, Status, StatusText string
	Progress                  int
}

func launched(doc []byte) (*window, error) {
	var l struct {
		ProgressText    string `json:"progresstext"`
		Button1Disabled bool   `json:"button1disabled"`
		ListItem        []struct{ Title, Status, StatusText string }
	}
	if err := json.Unmarshal(doc, &l); err != nil {
		return nil, err
	}
	w := &window{progressText: l.ProgressText, button1: !l.Button1Disabled}
	for _, it := range l.ListItem {
		w.rows = append(w.rows, &windowRow{Title: it.Title, Status: it.Status, StatusText: it.StatusText})
	}
	return w, nil
}

// read takes the whole command file. A crash is an error.
func (w *window) read(file string) error {
	// Swift's CharacterSet.newlines.
	lines := strings.FieldsFunc(file, func(r rune) bool { return strings.ContainsRune("\n\v\f\r\u0085\u2028\u2029", r) })
	for _, line := range lines {
		if err := w.command(line); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
	}
	return nil
}

func (w *window) command(line string) error {
	verb := strings.ToLower(strings.SplitN(line, " ", 2)[0])
	if !strings.HasSuffix(verb, ":") {
		return nil // logged and ignored
	}
	text := strings.ReplaceAll(line, verb+" ", "") // every occurrence
	text = strings.ReplaceAll(strings.ReplaceAll(text, `\n`, "\n"), "<br>", "\n")
	if i := strings.Index(text, "{"); i >= 0 && strings.Contains(text[i:], "}") {
		return fmt.Errorf("a token was substituted")
	}
	if strings.Contains(text, "\n") {
		return fmt.Errorf("a line break was made")
	}
	switch verb {
	case "progress:":
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("not a number")
		}
		w.progress = n
	case "progresstext:":
		w.progressText = text
	case "button1:":
		w.button1 = text != "disable" && text != "hide"
	case "quit:":
		w.quit = true
	case "listitem:":
		return w.listItem(text)
	default:
		return fmt.Errorf("a command nobody meant")
	}
	return nil
}

var listWords = []string{"title", "index", "status", "statustext", "subtitle", "icon", "progress", "action"}

func (w *window) listItem(text string) error {
	if !strings.Contains(text, "title: ") && !strings.Contains(text, "index: ") {
		return fmt.Errorf("taken as the simple form")
	}
	set := map[string]string{}
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		pieces := strings.Split(part, ": ")
		word := strings.ToLower(pieces[0])
		if !slices.Contains(listWords, word) {
			if word == "add" || word == "delete" {
				return fmt.Errorf("rows were added or removed")
			}
			continue
		}
		if len(pieces) < 2 {
			return fmt.Errorf("crash: index out of range")
		}
		if _, twice := set[word]; twice {
			return fmt.Errorf("a field was set twice")
		}
		set[word] = pieces[1]
	}
	title := set["title"]
	if at, ok := set["index"]; ok {
		n, err := strconv.Atoi(at)
		if err != nil || n < 0 || n >= len(w.rows) {
			return fmt.Errorf("no such row")
		}
		title = w.rows[n].Title
	}
	for _, r := range w.rows { // the first one of that title
		if r.Title != title {
			continue
		}
		if s, ok := set["status"]; ok {
			r.Status, r.Progress = s, 0
		}
		if s, ok := set["statustext"]; ok {
			r.StatusText = s
		}
		if p, ok := set["progress"]; ok {
			n, err := strconv.Atoi(p)
			if err != nil {
				return fmt.Errorf("not a percentage")
			}
			r.Status, r.Progress = "progress", n
		}
		return nil
	}
	return fmt.Errorf("no row of that title")
}
