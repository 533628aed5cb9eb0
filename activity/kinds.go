package activity

import (
	"maps"
	"slices"

	"github.com/enrollkit/enrollkit/storage"
)

// Kinds returns the names of all kinds of events, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds())) }

func kinds() map[string]func(storage.Activity) (Event, error) {
	return map[string]func(storage.Activity) (Event, error){
		AccountCreated{}.Kind():           parser[AccountCreated](),
		KeyPairCreated{}.Kind():           parser[KeyPairCreated](),
		KeyPairDeleted{}.Kind():           parser[KeyPairDeleted](),
		TokenImported{}.Kind():            parser[TokenImported](),
		TokenExpiring{}.Kind():            parser[TokenExpiring](),
		AccountHealthChanged{}.Kind():     parser[AccountHealthChanged](),
		AccountDeleted{}.Kind():           parser[AccountDeleted](),
		DeviceAdded{}.Kind():              parser[DeviceAdded](),
		DeviceChanged{}.Kind():            parser[DeviceChanged](),
		DeviceLeft{}.Kind():               parser[DeviceLeft](),
		SyncFinished{}.Kind():             parser[SyncFinished](),
		CursorReset{}.Kind():              parser[CursorReset](),
		ProfileDefined{}.Kind():           parser[ProfileDefined](),
		ProfileLost{}.Kind():              parser[ProfileLost](),
		DeviceMoved{}.Kind():              parser[DeviceMoved](),
		MigrationDeadlineSet{}.Kind():     parser[MigrationDeadlineSet](),
		MigrationDeadlineChanged{}.Kind(): parser[MigrationDeadlineChanged](),
		MigrationDeadlineCleared{}.Kind(): parser[MigrationDeadlineCleared](),
		ProfileDeferred{}.Kind():          parser[ProfileDeferred](),
		ProfileDrifted{}.Kind():           parser[ProfileDrifted](),
		RulesApplied{}.Kind():             parser[RulesApplied](),
		ProfileWanted{}.Kind():            parser[ProfileWanted](),
		ProfileAssigned{}.Kind():          parser[ProfileAssigned](),
		ProfileAssignFailed{}.Kind():      parser[ProfileAssignFailed](),
		ProfileVerified{}.Kind():          parser[ProfileVerified](),
		AssignmentBlocked{}.Kind():        parser[AssignmentBlocked](),
		AssignmentParked{}.Kind():         parser[AssignmentParked](),
		AssignmentRetried{}.Kind():        parser[AssignmentRetried](),

		EnrollmentStarted{}.Kind():       parser[EnrollmentStarted](),
		EnrollmentRefused{}.Kind():       parser[EnrollmentRefused](),
		OSUpdateRequired{}.Kind():        parser[OSUpdateRequired](),
		SignInStarted{}.Kind():           parser[SignInStarted](),
		SignedIn{}.Kind():                parser[SignedIn](),
		SignInFailed{}.Kind():            parser[SignInFailed](),
		EnrollmentProfileIssued{}.Kind(): parser[EnrollmentProfileIssued](),
		DeviceAuthenticated{}.Kind():     parser[DeviceAuthenticated](),
		DeviceWithoutSession{}.Kind():    parser[DeviceWithoutSession](),
		IdentityRenewed{}.Kind():         parser[IdentityRenewed](),
		DeviceEnrolled{}.Kind():          parser[DeviceEnrolled](),
		AwaitingChanged{}.Kind():         parser[AwaitingChanged](),
		DeviceUnenrolled{}.Kind():        parser[DeviceUnenrolled](),

		SetupStarted{}.Kind():           parser[SetupStarted](),
		SetupPlanned{}.Kind():           parser[SetupPlanned](),
		SetupItemChanged{}.Kind():       parser[SetupItemChanged](),
		SetupHeld{}.Kind():              parser[SetupHeld](),
		SetupReleaseDecided{}.Kind():    parser[SetupReleaseDecided](),
		SetupReleased{}.Kind():          parser[SetupReleased](),
		SetupClosed{}.Kind():            parser[SetupClosed](),
		SetupEventIgnored{}.Kind():      parser[SetupEventIgnored](),
		SetupAgentArrived{}.Kind():      parser[SetupAgentArrived](),
		SetupAdminAction{}.Kind():       parser[SetupAdminAction](),
		SetupReleaseResent{}.Kind():     parser[SetupReleaseResent](),
		SetupProfilesApplied{}.Kind():   parser[SetupProfilesApplied](),
		SetupWaiting{}.Kind():           parser[SetupWaiting](),
		SetupDeviceSilent{}.Kind():      parser[SetupDeviceSilent](),
		SetupReleaseUnanswered{}.Kind(): parser[SetupReleaseUnanswered](),
		SetupPlanFailed{}.Kind():        parser[SetupPlanFailed](),
		SetupRunUnreadable{}.Kind():     parser[SetupRunUnreadable](),
	}
}
