package abm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// MaxLimit is the most devices Apple returns per page and takes per call, unless it publishes another limit.
const MaxLimit = 1000

// defaultLimit is what Apple applies when no limit is sent.
const defaultLimit = 100

const (
	opFetchDevices       = "FetchDevices"
	opSyncDevices        = "SyncDevices"
	opDeviceDetails      = "DeviceDetails"
	opDisownDevices      = "DisownDevices"
	opReplacementDetails = "ReplacementDetails"
	opActivationLock     = "ActivationLock"
)

type pageRequest struct {
	Cursor string `json:"cursor,omitempty"`
	Limit  int    `json:"limit,omitempty"`
}

type serialsRequest struct {
	Devices []string `json:"devices"`
}

// FetchDevices returns one page of the full list of devices. Its records carry no OpType and OpDate.
//
// cursor is empty for the first page and opaque after that. limit counts devices; 0 sends no limit and Apple applies its
// default of 100. After the last page its cursor goes to [Client.SyncDevices].
// It returns [ErrCursorExhausted] when everything was returned for this cursor: go on with SyncDevices; and
// [ErrCursorInvalid] or [ErrCursorExpired]: begin again without cursor. Any other answer is an [*APIError].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/fetch-devices
//
//abm:operation POST /server/devices
func (c *Client) FetchDevices(ctx context.Context, cursor string, limit int) (*DevicePage, error) {
	return c.newPage(ctx, opFetchDevices, "server/devices", cursor, limit)
}

// SyncDevices returns one page of changes since cursor. A device may appear more than once; its latest OpDate wins.
//
// cursor is required. limit counts devices; 0 sends no limit and Apple applies its default of 100.
// It returns [ErrCursorExpired] when cursor is older than 7 days, and [ErrCursorInvalid]: start again with
// FetchDevices. Any other answer is an [*APIError].
//
// Apple: https://developer.apple.com/documentation/devicemanagement/sync-devices
//
//abm:operation POST /devices/sync
func (c *Client) SyncDevices(ctx context.Context, cursor string, limit int) (*DevicePage, error) {
	return c.newPage(ctx, opSyncDevices, "devices/sync", cursor, limit)
}

func (c *Client) newPage(ctx context.Context, op, path, cursor string, limit int) (*DevicePage, error) {
	p := new(DevicePage)
	if err := c.page(ctx, op, path, cursor, limit, p); err != nil {
		return nil, err
	}
	return p, nil
}

// page reads a page into p, whose array of devices is used again.
func (c *Client) page(ctx context.Context, op, path, cursor string, limit int, p *DevicePage) error {
	return c.do(ctx, call{
		op: op, method: http.MethodPost, path: path, in: pageRequest{Cursor: cursor, Limit: limit},
		out: func(body []byte) error { return p.decode(body, cmp.Or(limit, defaultLimit)) },
	})
}

// DeviceDetails returns Apple's records of serials, at most [MaxLimit], by serial. ResponseStatus of each says
// whether the device is accessible; one that is not has no other fields. Serials that Apple says nothing about are missing.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/device-details
//
//abm:operation POST /devices
func (c *Client) DeviceDetails(ctx context.Context, serials ...string) (map[string]Device, error) {
	var m map[string]Device
	err := c.do(ctx, call{
		op: opDeviceDetails, method: http.MethodPost, path: "devices", in: serialsRequest{serials},
		out: func(body []byte) (err error) { m, err = decodeDetails(body); return err },
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// DisownConfirmation is what someone who may release devices has confirmed: their serial numbers, as they were shown to
// or typed by that person. Do not make it from the list that is about to be released.
type DisownConfirmation []string

// ErrNotConfirmed means that a [DisownConfirmation] does not list exactly the devices that were to be released.
var ErrNotConfirmed = errors.New("abm: disown devices: not confirmed")

// DisownDevices releases devices from the organization, at most [MaxLimit]. There is no way back but to add them to the
// portal again. It returns Apple's result for each serial: SUCCESS, NOT_ACCESSIBLE or FAILED.
//
// It asks Apple for nothing and returns [ErrNotConfirmed] unless confirmed lists each of serials and no other.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/disown-devices
//
//abm:operation POST /devices/disown
func (c *Client) DisownDevices(ctx context.Context, confirmed DisownConfirmation, serials ...string) (map[string]Result, error) {
	if err := confirmed.check(serials); err != nil {
		return nil, err
	}
	var out resultsResponse
	err := c.do(ctx, call{
		op: opDisownDevices, method: http.MethodPost, path: "devices/disown", in: serialsRequest{serials},
		write: true, out: jsonInto(&out),
	})
	if err != nil {
		return nil, err
	}
	return out.Devices, nil
}

func (d DisownConfirmation) check(serials []string) error {
	want, have := slices.Sorted(slices.Values(serials)), slices.Sorted(slices.Values(d))
	switch {
	case len(serials) == 0:
		return fmt.Errorf("%w: no devices", ErrNotConfirmed)
	case len(serials) > MaxLimit:
		return fmt.Errorf("%w: %d devices are too many", ErrNotConfirmed, len(serials))
	case !slices.Equal(slices.Compact(want), slices.Compact(have)) || slices.Contains(want, ""):
		return fmt.Errorf("%w: the confirmation lists %d devices, and not the %d to be released", ErrNotConfirmed, len(d), len(serials))
	}
	return nil
}

// Replacement says which device another one replaces.
type Replacement struct {
	SerialNumber               string
	OriginalDeviceSerialNumber string
	// ReplacementDate is a day, midnight UTC.
	ReplacementDate time.Time
}

// ReplacementDetails returns which device serial replaces. Ask only for devices with IsReplacementDevice.
// It returns [ErrNotFound] when serial is no replacement, or not accessible.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/get-replacement-details
//
//abm:operation GET /device/replacementDetails
func (c *Client) ReplacementDetails(ctx context.Context, serial string) (Replacement, error) {
	var out struct {
		Serial   string `json:"serial_number"`
		Original string `json:"original_device_serial_number"`
		Date     string `json:"replacement_date"`
	}
	err := c.do(ctx, call{
		op: opReplacementDetails, method: http.MethodGet, path: "device/replacementDetails",
		query: url.Values{"device": {serial}}, out: jsonInto(&out),
	})
	if err != nil {
		return Replacement{}, err
	}
	date, _ := parseTime(out.Date)
	return Replacement{SerialNumber: out.Serial, OriginalDeviceSerialNumber: out.Original, ReplacementDate: date}, nil
}

// ActivationLock locks a device to the organization. escrowKey is the hash of a bypass code, [BypassCode.EscrowKey]; without
// it the lock belongs to the person who created the MDM server entry. lostMessage may be empty. Store the code before:
// nobody else has it. [RemoveActivationLock] takes the lock away.
//
// The result is SUCCESS, NOT_ACCESSIBLE, ORG_NOT_SUPPORTED, DEVICE_NOT_SUPPORTED, DEVICE_ALREADY_LOCKED or FAILED.
//
// Apple: https://developer.apple.com/documentation/devicemanagement/activation-lock-devices
//
//abm:operation POST /device/activationlock
func (c *Client) ActivationLock(ctx context.Context, serial string, escrowKey Secret, lostMessage string) (Result, error) {
	in := struct {
		Device      string `json:"device"`
		EscrowKey   string `json:"escrow_key,omitempty"`
		LostMessage string `json:"lost_message,omitempty"`
	}{serial, escrowKey.Reveal(), lostMessage}
	var out struct {
		Status Result `json:"response_status"`
	}
	err := c.do(ctx, call{
		op: opActivationLock, method: http.MethodPost, path: "device/activationlock", in: in, write: true, out: jsonInto(&out),
	})
	if err != nil {
		return "", err
	}
	return out.Status, nil
}
