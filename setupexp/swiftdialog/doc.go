// Package swiftdialog shows a setup run on a Mac with swiftDialog (https://github.com/swiftDialog/swiftDialog): what to
// start it with, and the commands that keep its window up to date.
//
// [Dialog.Launch] makes the whole first state of the window, [Dialog.Diff] the commands from one view to the next, and
// [Writer] puts them into the command file. swiftDialog reads that file with a parser that is easily led astray; the
// commands are made so that it cannot be (version 3.1.0, DialogUpdatableContent.swift):
//
//	The app truncates the command file as it starts     the first state is in the launch JSON; [Dialog.Snapshot] again later
//	It sometimes reads the file from the start again    every command is absolute: repeating all of them changes nothing
//	List commands are split at commas and ": "          texts hold neither
//	A reserved word alone between commas crashes it     texts hold no comma, and no value is empty
//	A row is found by its title, even if named by index titles are made unique
//	"{name}", "\n" and "<br>" are replaced in texts     braces, backslashes and angle brackets are replaced before
//	"progress: 0" means "unknown"                       the bar begins at 1
//	Half a character in a read drops the read           one short write for each line
//	Each change scrolls to its row                      only what changed is sent, the current row last
//	The default command file may hold an old "quit:"    it is refused
//
// A missing window, agent or swiftDialog never changes what the server does.
//
// A Dialog holds only settings and may be used from many goroutines; a Writer may not.
package swiftdialog
