package main

import (
	"os"
	"path/filepath"

	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/setupexp/swiftdialog"
)

// screen is where a Mac shows its progress: the files that swiftDialog is started with and reads its commands from.
// There is no swiftDialog here to read them; look at them in the program's folder.
type screen struct {
	dialog *swiftdialog.Dialog
	launch string
	writer *swiftdialog.Writer
	shown  *setupexp.View
}

func newScreen(dir, serial string) (*screen, error) {
	dialog, err := swiftdialog.New(swiftdialog.WithMessage("Welcome to Example Inc. Your Mac will be ready in a moment."))
	if err != nil {
		return nil, err
	}
	writer, err := swiftdialog.NewWriter(filepath.Join(dir, "dialog-"+serial+".log"))
	if err != nil {
		return nil, err
	}
	return &screen{dialog: dialog, launch: filepath.Join(dir, "dialog-"+serial+".json"), writer: writer}, nil
}

// show brings the window to the view: the first time, and when its rows have changed, by launching it.
func (s *screen) show(v setupexp.View) error {
	old := s.shown
	s.shown = &v
	if old != nil && !swiftdialog.Relaunch(*old, v) {
		return s.writer.Write(s.dialog.Diff(*old, v)...)
	}
	doc, err := s.dialog.Launch(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.launch, doc, 0o600); err != nil {
		return err
	}
	return s.writer.Write(s.dialog.Snapshot(v)...)
}
