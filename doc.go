// Package enrollkit is the root of a library that takes a computer from "bought" to "ready for its user" without anyone
// touching it. Go programs that manage devices import its packages and wire them into their own servers.
//
//	Apple Business Manager ──sync──▶ inventory ──rules──▶ assignment ──▶ device boots
//	                          abm                 abm, depprofile             │
//	   ┌──────────────────────────────────────────────────────────────────────┘
//	   ▼
//	enrollment ──▶ setup experience ──▶ release ──▶ the user's desktop
//	 enroll          setupexp
//
// # Packages
//
//	abm                   Apple Business / School Manager: accounts, server tokens, inventory sync, profile assignment
//	abm/abmtest           a simulator of Apple's device assignment service
//	depprofile            the enrollment profile Apple hands to a device: build, check, compare, fingerprint
//	enroll                what a device meets: MachineInfo, authorization, OS gate, sign-in, enrollment profile, check-ins
//	enroll/nano           adapter for NanoMDM in the same process
//	enroll/enrolltest     a simulator of a device from first boot to desktop
//	setupexp              what happens while the device waits: plan, state machine, tracker, release, agent API
//	setupexp/swiftdialog  launch file and commands for swiftDialog
//	activity              typed audit events, and where they are sent
//	storage               what is kept and what is promised about it: records, interfaces, contract, sealing of secrets
//	storage/memory        backend in the process
//	storage/sqlstore      backend on a SQL database of the host
//	storage/storagetest   the suite every backend passes
//
// # How the parts meet
//
// A host opens one storage backend and hands it to three things that work beside each other and know of each other only
// what is stored:
//
//   - [github.com/enrollkit/enrollkit/abm.Engine] keeps the inventory of its accounts current and gives each device the
//     profile that is wanted for it;
//   - [github.com/enrollkit/enrollkit/enroll.Handler] and [github.com/enrollkit/enrollkit/enroll.CheckIns] meet the
//     device, before and after it is enrolled;
//   - [github.com/enrollkit/enrollkit/setupexp.Tracker] brings it through its setup and releases it.
//
// Nothing lives in memory alone: any of them can be killed at any point and goes on from what is stored, and any number
// of replicas may share one store. What happened to a device is read from its activities.
//
// This package itself holds nothing but the picture. The example below shows the first part at work against the
// simulator; examples/quickstart in the repository shows all of it.
package enrollkit
