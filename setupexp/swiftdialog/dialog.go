package swiftdialog

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/enrollkit/enrollkit/setupexp"
)

// Dialog makes what swiftDialog is given.
type Dialog struct{ settings settings }

type settings struct {
	message, icon, quitKey string
	fullScreen             bool
	texts                  map[string]string
}

// Option changes what the window shows.
type Option func(*settings) error

// WithMessage sets the text above the list; Markdown. The default is "Setting up your Mac".
func WithMessage(markdown string) Option {
	return func(s *settings) error {
		if markdown == "" {
			return errors.New("swiftdialog: WithMessage: empty message")
		}
		s.message = markdown
		return nil
	}
}

// WithIcon sets the icon: a path, a URL or "SF=" and the name of a symbol. The default is "SF=laptopcomputer".
func WithIcon(icon string) Option {
	return func(s *settings) error {
		if icon == "" {
			return errors.New("swiftdialog: WithIcon: empty icon")
		}
		s.icon = icon
		return nil
	}
}

// WithWindow shows a window instead of covering the whole screen.
func WithWindow() Option {
	return func(s *settings) error {
		s.fullScreen = false
		return nil
	}
}

// WithTexts replaces texts, for other languages: by the keys of [Texts]. Keys it does not know are an error.
func WithTexts(texts map[string]string) Option {
	return func(s *settings) error {
		for k, v := range texts {
			if _, ok := s.texts[k]; !ok || v == "" {
				return fmt.Errorf("swiftdialog: WithTexts: unknown key or empty text %q", k)
			}
			s.texts[k] = v
		}
		return nil
	}
}

// Texts returns the English texts by key. "%d" stand for the attempt and the number of attempts.
func Texts() map[string]string {
	return map[string]string{
		"button":             "Continue",
		"setup.planning":     "Preparing",
		"setup.running":      "Installing",
		"setup.held":         "Something went wrong. Please contact your IT department.",
		"setup.ready_manual": "Ready. Waiting for your IT department.",
		"setup.releasing":    "Finishing",
		"setup.done":         "Your Mac is ready",
		"item.waiting":       "Waiting",
		"item.running":       "Installing",
		"item.checking":      "Checking",
		"item.retrying":      "Trying again (%d/%d)",
		"item.busy":          "Your Mac is busy; trying again",
		"item.done":          "Done",
		"item.skipped":       "Already there",
		"item.failed":        "Failed",
		"item.failed_soft":   "Will be tried again later",
		"item.background":    "Goes on in the background",
		"item.cancelled":     "Cancelled",
	}
}

// New returns a Dialog that covers the screen.
func New(opts ...Option) (*Dialog, error) {
	s := settings{
		message: "Setting up your Mac", icon: "SF=laptopcomputer", quitKey: "X", fullScreen: true, texts: Texts(),
	}
	for _, opt := range opts {
		if err := opt(&s); err != nil {
			return nil, err
		}
	}
	s.texts = maps.Clone(s.texts)
	return &Dialog{settings: s}, nil
}

// launch is the launch JSON; its keys are the long names of swiftDialog's options.
type launch struct {
	Title        string    `json:"title"`
	Message      string    `json:"message"`
	Icon         string    `json:"icon"`
	CentreIcon   bool      `json:"centreicon"`
	Big          bool      `json:"big,omitempty"`
	BlurScreen   bool      `json:"blurscreen,omitempty"`
	OnTop        bool      `json:"ontop"`
	Progress     int       `json:"progress"` // the bar's end
	ProgressText string    `json:"progresstext"`
	Button1Text  string    `json:"button1text"`
	Button1Off   bool      `json:"button1disabled"`
	QuitKey      string    `json:"quitkey"` // a capital letter needs Shift
	ListStyle    string    `json:"liststyle"`
	ListItem     []listRow `json:"listitem"`
}

type listRow struct {
	Title      string `json:"title"`
	Icon       string `json:"icon,omitempty"`
	Status     string `json:"status"`
	StatusText string `json:"statustext"`
}

// Launch returns the JSON to start swiftDialog with, which shows the view as it is. Commands written before the window
// is there are lost; write [Dialog.Snapshot] after half a second, one and a half and four.
func (d *Dialog) Launch(v setupexp.View) ([]byte, error) {
	l := launch{
		Title: "none", Message: d.settings.message, Icon: d.settings.icon, CentreIcon: true,
		Big: d.settings.fullScreen, BlurScreen: d.settings.fullScreen, OnTop: true,
		Progress: 100, ProgressText: d.progressText(v),
		Button1Text: clean(d.settings.texts["button"]), Button1Off: !v.Done, QuitKey: d.settings.quitKey,
		ListStyle: "compact", ListItem: []listRow{},
	}
	names := titles(v)
	for i, it := range v.Items {
		r := d.row(it)
		l.ListItem = append(l.ListItem, listRow{Title: names[i], Icon: it.Icon, Status: r.status(), StatusText: r.text})
	}
	return json.Marshal(l)
}

// Args returns the arguments to start swiftDialog with: the launch JSON in a file, and the command file.
func Args(jsonFile, commandFile string) []string {
	return []string{"--jsonfile", jsonFile, "--commandfile", commandFile}
}

// Relaunch reports whether the rows of two views differ, so that the window has to be started anew: rows are never added
// to a window, as swiftDialog may read the command twice.
func Relaunch(old, next setupexp.View) bool {
	if len(old.Items) != len(next.Items) || old.RunID != next.RunID {
		return true
	}
	for i := range old.Items {
		if old.Items[i].ID != next.Items[i].ID || old.Items[i].Title != next.Items[i].Title {
			return true
		}
	}
	return false
}

// Diff returns the commands that bring a window from one view to the next. Both have the same rows, see [Relaunch].
func (d *Dialog) Diff(old, next setupexp.View) []string {
	return d.commands(next, func(i int) bool {
		return i >= len(old.Items) || d.row(old.Items[i]) != d.row(next.Items[i])
	}, old)
}

// Snapshot returns the commands that bring any window of the same rows to the view.
func (d *Dialog) Snapshot(v setupexp.View) []string {
	return d.commands(v, func(int) bool { return true }, setupexp.View{Progress: -1})
}

// Quit is the command that closes the window.
const Quit = "quit:"

func (d *Dialog) commands(v setupexp.View, changed func(i int) bool, old setupexp.View) []string {
	var lines, last []string
	for i, it := range v.Items {
		if !changed(i) {
			continue
		}
		line := "listitem: index: " + strconv.Itoa(i) + ", " + d.row(it).fields()
		if it.ID == v.Current {
			last = append(last, line)
		} else {
			lines = append(lines, line)
		}
	}
	lines = append(lines, last...)
	if text := d.progressText(v); old.Message == "" || text != d.progressText(old) {
		lines = append(lines, "progresstext: "+text)
	}
	if p := bar(v); p != bar(old) || old.Progress < 0 {
		lines = append(lines, "progress: "+strconv.Itoa(p))
	}
	if v.Done && !old.Done {
		lines = append(lines, "button1: enable")
	}
	return lines
}

// bar is the progress, which 0 would make unknown.
func bar(v setupexp.View) int { return min(max(v.Progress, 1), 100) }

func (d *Dialog) progressText(v setupexp.View) string {
	if v.Done {
		return clean(d.settings.texts["setup.done"])
	}
	if text, ok := d.settings.texts[v.Message]; ok {
		return clean(text)
	}
	return clean(d.settings.texts["setup.running"])
}
