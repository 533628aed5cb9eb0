package swiftdialog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrBadPath means that a path cannot be a command file: it is not absolute, has characters other than letters, digits
// and "/._-", is swiftDialog's default, or is no regular file.
var ErrBadPath = errors.New("swiftdialog: bad command file")

// defaultCommandFile is where swiftDialog looks when it is told nothing. Any process may have written there.
const defaultCommandFile = "/var/tmp/dialog.log"

// Writer appends commands to a command file. swiftDialog replaces the file as it starts, so that each line is written
// on its own: open, one write, close.
type Writer struct{ path string }

// NewWriter returns a Writer for a command file, which need not exist. Choose a new name for each launch, in a folder that
// only root may write to: whoever can write to the file commands the window.
func NewWriter(path string) (*Writer, error) {
	ok := filepath.IsAbs(path) && filepath.Clean(path) == path && path != defaultCommandFile
	for _, r := range path {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-", r))
	}
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrBadPath, path)
	}
	return &Writer{path: path}, nil
}

// Write appends commands, such as those of [Dialog.Diff]. It stops at the first error; writing all of them again is
// harmless. The file is readable by everyone, as swiftDialog runs as the user, and writable by its owner.
func (w *Writer) Write(commands ...string) error {
	for _, line := range commands {
		if !valid(line) {
			return fmt.Errorf("swiftdialog: write: not one line of text: %.60q", line)
		}
		if err := w.line(line); err != nil {
			return fmt.Errorf("swiftdialog: write: %w", err)
		}
	}
	return nil
}

func (w *Writer) line(line string) (err error) {
	if info, err := os.Lstat(w.path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %q is a %v", ErrBadPath, w.path, info.Mode().Type())
	}
	f, err := os.OpenFile(w.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(line + "\n")
	return err
}
