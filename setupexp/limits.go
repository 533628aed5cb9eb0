package setupexp

import "time"

// Limits are the timers of a run that no plan sets. Zero fields have the default named beside them. A run keeps the
// limits it was opened with.
type Limits struct {
	// Plan is how long the planner may take before the device is released without a plan: 1 minute.
	Plan time.Duration `json:"plan"`
	// AgentArrival is how long items wait for an agent: 5 minutes.
	AgentArrival time.Duration `json:"agent_arrival"`
	// AwaitGrace is how much longer await-only items may take once a release is decided: 30 seconds.
	AwaitGrace time.Duration `json:"await_grace"`
	// Backoff is the wait before the second attempt of an item; it doubles up to a minute: 5 seconds.
	Backoff time.Duration `json:"backoff"`
	// Silence is how long a device with work to do may be silent before it is pushed, again after twice that, and so
	// on: 30 seconds. SilenceAlert is when an activity says so: 10 minutes.
	Silence      time.Duration `json:"silence"`
	SilenceAlert time.Duration `json:"silence_alert"`
	// ReleasePush and ReleaseResend are when an unanswered release is pushed and sent again: 15 and 90 seconds.
	ReleasePush   time.Duration `json:"release_push"`
	ReleaseResend time.Duration `json:"release_resend"`
	// ReleaseSends is how often an unanswered release is sent before an activity says so: 5. It is sent as often again,
	// 10 minutes after the last one, each time the device is seen to wait still.
	ReleaseSends int `json:"release_sends"`
	// Abandon is how long a device that does not answer its release may be silent before its run ends: 24 hours. When it
	// is heard of again, the run goes on.
	Abandon time.Duration `json:"abandon"`
	// Settle is how long a released run without work stays open to notice that the device waits after all: 30 seconds.
	Settle time.Duration `json:"settle"`
	// Finish is how long work may go on in the background after the release: 2 hours.
	Finish time.Duration `json:"finish"`
	// AgentRetries is how often a run's failed items can be tried again by whoever is at the device: 3.
	AgentRetries int `json:"agent_retries"`
	// Reminder is the time between reminders of a device that waits for a person: 30 minutes.
	Reminder time.Duration `json:"reminder"`
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.Plan, time.Minute},
		{&l.AgentArrival, 5 * time.Minute},
		{&l.AwaitGrace, 30 * time.Second},
		{&l.Backoff, 5 * time.Second},
		{&l.Silence, 30 * time.Second},
		{&l.SilenceAlert, 10 * time.Minute},
		{&l.ReleasePush, 15 * time.Second},
		{&l.ReleaseResend, 90 * time.Second},
		{&l.Abandon, 24 * time.Hour},
		{&l.Settle, 30 * time.Second},
		{&l.Finish, 2 * time.Hour},
		{&l.Reminder, 30 * time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if l.ReleaseSends == 0 {
		l.ReleaseSends = 5
	}
	if l.AgentRetries == 0 {
		l.AgentRetries = 3
	}
	return l
}

// Timers that are not worth a setting.
const (
	defaultNotNow = 3 * time.Minute
	defaultHold   = 4 * time.Hour
	gateTimeout   = time.Minute     // how long to look whether an item is there already
	probeFirst    = 5 * time.Second // between two looks, doubling
	probeSlowest  = 30 * time.Second
	// probePatience is how long a look may stay unanswered before another is sent. A device that is silent is pushed
	// meanwhile: more looks would only fill its queue.
	probePatience = 2 * time.Minute
	retryWindow   = 10 * time.Minute // what a retry leaves of the deadline at least
	slowestRetry  = time.Minute
	slowestPush   = 15 * time.Minute
	roundEvery    = 10 * time.Minute // between the last release of a round and the first of the next
)
