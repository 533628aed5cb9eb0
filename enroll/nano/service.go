package nano

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"

	"github.com/enrollkit/enrollkit/enroll"
)

// Service is a NanoMDM service around another one.
type Service struct {
	// The embedded service takes what is not overridden below.
	service.CheckinAndCommandService
	checkIns *enroll.CheckIns
}

var _ service.CheckinAndCommandService = (*Service)(nil)

// Wrap returns a service that lets next handle each message and then tells checkIns. Its errors are those of next, or
// say that checkIns could not store what happened: NanoMDM answers both with a status that makes the device repeat
// the message. A device refused by [enroll.WithSessionRequired] gets 403.
func Wrap(next service.CheckinAndCommandService, checkIns *enroll.CheckIns) (*Service, error) {
	if next == nil || checkIns == nil {
		return nil, errors.New("nano: wrap: a service and check-ins are required")
	}
	return &Service{CheckinAndCommandService: next, checkIns: checkIns}, nil
}

// Authenticate implements service.Checkin.
func (s *Service) Authenticate(r *mdm.Request, m *mdm.Authenticate) error {
	if err := s.CheckinAndCommandService.Authenticate(r, m); err != nil {
		return err
	}
	return s.tell(r, m.Raw, s.checkIns.Authenticated)
}

// TokenUpdate implements service.Checkin.
func (s *Service) TokenUpdate(r *mdm.Request, m *mdm.TokenUpdate) error {
	if err := s.CheckinAndCommandService.TokenUpdate(r, m); err != nil {
		return err
	}
	return s.tell(r, m.Raw, s.checkIns.TokenUpdated)
}

// CheckOut implements service.Checkin.
func (s *Service) CheckOut(r *mdm.Request, m *mdm.CheckOut) error {
	if err := s.CheckinAndCommandService.CheckOut(r, m); err != nil {
		return err
	}
	return s.tell(r, m.Raw, s.checkIns.CheckedOut)
}

// SetBootstrapToken implements service.Checkin.
func (s *Service) SetBootstrapToken(r *mdm.Request, m *mdm.SetBootstrapToken) error {
	if err := s.CheckinAndCommandService.SetBootstrapToken(r, m); err != nil {
		return err
	}
	return s.tell(r, m.Raw, s.checkIns.BootstrapToken)
}

// GetBootstrapToken implements service.Checkin.
func (s *Service) GetBootstrapToken(r *mdm.Request, m *mdm.GetBootstrapToken) (*mdm.BootstrapToken, error) {
	token, err := s.CheckinAndCommandService.GetBootstrapToken(r, m)
	if err != nil {
		return nil, err
	}
	if err := s.tell(r, m.Raw, s.checkIns.BootstrapToken); err != nil {
		return nil, err
	}
	return token, nil
}

// CommandAndReportResults implements service.CommandAndReportResults. What the device reported may have the observer
// queue another command; the device gets it with the push that follows.
func (s *Service) CommandAndReportResults(r *mdm.Request, results *mdm.CommandResults) (*mdm.Command, error) {
	cmd, err := s.CheckinAndCommandService.CommandAndReportResults(r, results)
	if err != nil {
		return nil, err
	}
	handle := s.checkIns.Idle
	if results.CommandUUID != "" {
		report := enroll.Report{CommandUUID: results.CommandUUID, Status: results.Status}
		for _, e := range results.ErrorChain {
			text := e.USEnglishDescription
			if text == "" {
				text = e.LocalizedDescription
			}
			report.Errors = append(report.Errors, enroll.ReportError{Code: e.ErrorCode, Domain: e.ErrorDomain, Description: text})
		}
		handle = func(ctx context.Context, m enroll.Message) error {
			return s.checkIns.CommandReported(ctx, m, report)
		}
	}
	if err := s.tell(r, results.Raw, handle); err != nil {
		return nil, err
	}
	return cmd, nil
}

// tell hands the message to the check-ins.
func (s *Service) tell(r *mdm.Request, raw []byte, handle func(context.Context, enroll.Message) error) error {
	m, err := enroll.ReadMessage(raw)
	if err != nil {
		return fmt.Errorf("nano: %w", err)
	}
	var cert []byte
	if r.Certificate != nil {
		cert = r.Certificate.Raw
	}
	m.ID, m.Params = enroll.MessageID(raw, cert), r.Params
	// NanoMDM has named the enrollment by now; a service in between may have named it differently than the message.
	if r.EnrollID != nil && r.ID != "" {
		m.EnrollmentID = r.ID
		m.UserChannel = m.UserChannel || r.ParentID != ""
	}
	if m.EnrollmentID == "" {
		return nil // NanoMDM accepts no such message; nothing could be said about it
	}
	err = handle(r.Context(), m)
	switch {
	case errors.Is(err, enroll.ErrNoSession):
		return service.NewHTTPStatusError(http.StatusForbidden, err)
	case err != nil:
		return fmt.Errorf("nano: %s: %w", m.Type, err)
	}
	return nil
}
