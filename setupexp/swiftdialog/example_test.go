package swiftdialog_test

import (
	"fmt"
	"strings"

	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/setupexp/swiftdialog"
)

func Example() {
	dialog, err := swiftdialog.New(swiftdialog.WithWindow())
	if err != nil {
		fmt.Println(err)
		return
	}
	first := setupexp.View{
		State: setupexp.StateRunning, Message: "setup.running",
		Items: []setupexp.ItemView{
			{ID: "wifi", Title: "Wi-Fi, office", State: setupexp.ItemDispatched},
			{ID: "app", Title: "Notes", State: setupexp.ItemReady},
		},
	}
	launch, err := dialog.Launch(first)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Contains(string(launch), `"title":"Notes","status":"pending","statustext":"Waiting"`))

	next := first
	next.Progress, next.Current = 55, "app"
	next.Items = []setupexp.ItemView{
		{ID: "wifi", Title: "Wi-Fi, office", State: setupexp.ItemSucceeded},
		{ID: "app", Title: "Notes", State: setupexp.ItemAccepted, Percent: 10},
	}
	for _, command := range dialog.Diff(first, next) {
		fmt.Println(command) // Writer.Write puts it into the command file
	}
	// Output:
	// true
	// listitem: index: 0, status: success, statustext: Done
	// listitem: index: 1, progress: 10, statustext: Installing
	// progress: 55
}
