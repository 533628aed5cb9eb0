package enrolltest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/enrollkit/enrollkit/internal/plist"
)

// maxCommands bounds one connection, so that a server that repeats a command for ever does not hold a device for ever.
const maxCommands = 1000

// Command is what a server asks of a device.
type Command struct {
	UUID, RequestType string
	// Raw is the property list as it came.
	Raw []byte
}

// Answer is what a device answered to a command.
type Answer struct {
	CommandUUID, RequestType, Status string
	ErrorChain                       []ErrorItem
}

// report is an answer with what is to happen once the server has it.
type report struct {
	Answer
	keys  map[string]any
	after func(ctx context.Context)
}

// connect asks the server for commands until it has no more. A connection that fails is not an error: the device
// tries again later. It returns ErrUnenrolled, ErrErased, or ctx's error.
func (d *Device) connect(ctx context.Context) error {
	err := d.converse(ctx)
	if gone := d.goneErr(); gone != nil {
		return gone
	}
	if ctx.Err() != nil {
		return fmt.Errorf("enrolltest: connect: %w", ctx.Err())
	}
	if err != nil {
		d.setPollAgain(true)
		d.emit(Event{Kind: EventConnectionFailed, Err: err})
	}
	return nil
}

func (d *Device) converse(ctx context.Context) error {
	last := StatusIdle
	for range maxCommands {
		e := d.enrollment()
		if e == nil {
			return nil
		}
		d.mu.Lock()
		rep := d.st.pending
		d.mu.Unlock()
		body, err := d.put(ctx, e, e.mdm.ServerURL, contentMDM, d.message(rep))
		if err != nil {
			return d.connectionError(err)
		}
		if rep != nil {
			last = rep.Status
			d.mu.Lock()
			d.st.pending = nil
			d.mu.Unlock()
			d.emit(Event{Kind: EventAnswer, RequestType: rep.RequestType, CommandUUID: rep.CommandUUID, Status: rep.Status})
			if rep.after != nil {
				rep.after(ctx)
			}
		}
		if d.goneErr() != nil {
			return nil
		}
		if len(bytes.TrimSpace(body)) == 0 {
			d.setPollAgain(last == StatusNotNow)
			return nil
		}
		if err := d.handle(ctx, body); err != nil {
			return err
		}
	}
	return fmt.Errorf("more than %d commands on one connection", maxCommands)
}

// handle carries out one command and leaves the answer in pending.
func (d *Device) handle(ctx context.Context, body []byte) error {
	var doc struct {
		CommandUUID string
		Command     struct{ RequestType string }
	}
	if err := plist.Unmarshal(body, &doc); err != nil {
		return fmt.Errorf("read command: %w", err)
	}
	c := Command{UUID: doc.CommandUUID, RequestType: doc.Command.RequestType, Raw: body}
	d.emit(Event{Kind: EventCommand, RequestType: c.RequestType, CommandUUID: c.UUID})
	rule := d.ruleFor(c)
	if err := sleep(ctx, rule.Delay); err != nil {
		return err
	}
	var rep *report
	if rule.Status != "" {
		rep = &report{Answer: Answer{Status: rule.Status, ErrorChain: rule.ErrorChain}}
	} else {
		rep = d.execute(ctx, c)
	}
	rep.CommandUUID, rep.RequestType = c.UUID, c.RequestType
	d.mu.Lock()
	d.st.pending = rep
	d.st.answers = append(d.st.answers, rep.Answer)
	d.mu.Unlock()
	if rule.LoseConnection {
		return errLost
	}
	return nil
}

// message is what goes to the server: an answer, or Idle.
func (d *Device) message(rep *report) map[string]any {
	msg := map[string]any{"UDID": d.UDID(), "Status": StatusIdle}
	if rep == nil {
		return msg
	}
	msg["Status"], msg["CommandUUID"] = rep.Status, rep.CommandUUID
	if len(rep.ErrorChain) > 0 {
		msg["ErrorChain"] = rep.ErrorChain
	}
	for k, v := range rep.keys {
		msg[k] = v
	}
	return msg
}

func (d *Device) goneErr() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st.gone
}

func (d *Device) setPollAgain(v bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.st.pollAgain = v
}
