package nano

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/micromdm/nanomdm/mdm"
	"github.com/micromdm/nanomdm/service"
	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/setupexp"
)

// Service is a NanoMDM service around another one.
type Service struct {
	// The embedded service takes what is not overridden below.
	service.CheckinAndCommandService
	checkIns *enroll.CheckIns
	log      *zap.Logger
}

var _ service.CheckinAndCommandService = (*Service)(nil)

// Option changes how [Wrap] makes a service.
type Option func(*Service) error

// WithLogger sets the logger. The default logs nothing.
func WithLogger(l *zap.Logger) Option {
	return func(s *Service) error {
		if l == nil {
			return errors.New("WithLogger: nil")
		}
		s.log = l
		return nil
	}
}

// Wrap returns a service that asks checkIns whether a message may pass, lets next handle it and then tells checkIns.
// next is certauth around NanoMDM's core service: certauth takes the certificate of any Authenticate for that of the
// device, and so has to come after the question whose it is.
//
// Its errors are those of next, or say that checkIns could not store what happened: NanoMDM answers both with a status
// that makes the device repeat the message. What [enroll.CheckIns.Admit] refuses gets 403, which no device takes for an
// order to leave management.
func Wrap(next service.CheckinAndCommandService, checkIns *enroll.CheckIns, opts ...Option) (*Service, error) {
	if next == nil || checkIns == nil {
		return nil, errors.New("nano: wrap: a service and check-ins are required")
	}
	s := &Service{CheckinAndCommandService: next, checkIns: checkIns, log: zap.NewNop()}
	for _, o := range opts {
		if err := o(s); err != nil {
			return nil, fmt.Errorf("nano: wrap: %w", err)
		}
	}
	return s, nil
}

// Authenticate implements service.Checkin.
func (s *Service) Authenticate(r *mdm.Request, m *mdm.Authenticate) error {
	return s.through(r, &m.Enrollment, m.Raw, s.checkIns.Authenticated, func() error {
		return s.CheckinAndCommandService.Authenticate(r, m)
	})
}

// TokenUpdate implements service.Checkin.
func (s *Service) TokenUpdate(r *mdm.Request, m *mdm.TokenUpdate) error {
	return s.through(r, &m.Enrollment, m.Raw, s.checkIns.TokenUpdated, func() error {
		return s.CheckinAndCommandService.TokenUpdate(r, m)
	})
}

// CheckOut implements service.Checkin.
func (s *Service) CheckOut(r *mdm.Request, m *mdm.CheckOut) error {
	return s.through(r, &m.Enrollment, m.Raw, s.checkIns.CheckedOut, func() error {
		return s.CheckinAndCommandService.CheckOut(r, m)
	})
}

// SetBootstrapToken implements service.Checkin.
func (s *Service) SetBootstrapToken(r *mdm.Request, m *mdm.SetBootstrapToken) error {
	return s.through(r, &m.Enrollment, m.Raw, s.checkIns.BootstrapToken, func() error {
		return s.CheckinAndCommandService.SetBootstrapToken(r, m)
	})
}

// GetBootstrapToken implements service.Checkin.
func (s *Service) GetBootstrapToken(r *mdm.Request, m *mdm.GetBootstrapToken) (*mdm.BootstrapToken, error) {
	return answer(s, r, &m.Enrollment, m.Raw, s.checkIns.BootstrapToken, func() (*mdm.BootstrapToken, error) {
		return s.CheckinAndCommandService.GetBootstrapToken(r, m)
	})
}

// UserAuthenticate implements service.UserAuthenticate.
func (s *Service) UserAuthenticate(r *mdm.Request, m *mdm.UserAuthenticate) ([]byte, error) {
	return answer(s, r, &m.Enrollment, m.Raw, nil, func() ([]byte, error) {
		return s.CheckinAndCommandService.UserAuthenticate(r, m)
	})
}

// DeclarativeManagement implements service.DeclarativeManagement.
func (s *Service) DeclarativeManagement(r *mdm.Request, m *mdm.DeclarativeManagement) ([]byte, error) {
	return answer(s, r, &m.Enrollment, m.Raw, nil, func() ([]byte, error) {
		return s.CheckinAndCommandService.DeclarativeManagement(r, m)
	})
}

// GetToken implements service.GetToken.
func (s *Service) GetToken(r *mdm.Request, m *mdm.GetToken) (*mdm.GetTokenResponse, error) {
	return answer(s, r, &m.Enrollment, m.Raw, nil, func() (*mdm.GetTokenResponse, error) {
		return s.CheckinAndCommandService.GetToken(r, m)
	})
}

// CommandAndReportResults implements service.CommandAndReportResults. What the device reported may have the observer
// queue another command; the device gets it with the push that follows.
func (s *Service) CommandAndReportResults(r *mdm.Request, results *mdm.CommandResults) (*mdm.Command, error) {
	handle := s.checkIns.Idle
	if results.CommandUUID != "" {
		report := setupexp.CommandResult{CommandUUID: results.CommandUUID, Status: setupexp.Status(results.Status)}
		for _, e := range results.ErrorChain {
			text := e.USEnglishDescription
			if text == "" {
				text = e.LocalizedDescription
			}
			report.Errors = append(report.Errors, setupexp.CommandError{Code: e.ErrorCode, Domain: e.ErrorDomain, Description: text})
		}
		handle = func(ctx context.Context, m enroll.Message) error {
			return s.checkIns.CommandReported(ctx, m, report)
		}
	}
	return answer(s, r, &results.Enrollment, results.Raw, handle, func() (*mdm.Command, error) {
		return s.CheckinAndCommandService.CommandAndReportResults(r, results)
	})
}

// handler takes a message NanoMDM has taken.
type handler func(context.Context, enroll.Message) error

func (s *Service) through(r *mdm.Request, e *mdm.Enrollment, raw []byte, handle handler, next func() error) error {
	_, err := answer(s, r, e, raw, handle, func() (struct{}, error) { return struct{}{}, next() })
	return err
}

// answer has a message admitted, taken by NanoMDM and then handled; NanoMDM's answer counts if all three went well.
func answer[T any](s *Service, r *mdm.Request, e *mdm.Enrollment, raw []byte, handle handler, next func() (T, error)) (T, error) {
	var none T
	m := s.message(r, e, raw)
	if err := s.checkIns.Admit(r.Context(), m); err != nil {
		return none, statusOf(m, err)
	}
	out, err := next()
	if err != nil {
		return none, err
	}
	// NanoMDM has named the enrollment by now; a service in between may have named it differently than the message.
	if r.EnrollID != nil && r.ID != "" {
		m.EnrollmentID = r.ID
		m.UserChannel = m.UserChannel || r.ParentID != ""
	}
	if handle == nil || m.EnrollmentID == "" { // NanoMDM accepts no message of nobody
		return out, nil
	}
	if err := handle(r.Context(), m); err != nil {
		return none, statusOf(m, err)
	}
	return out, nil
}

// message reads what NanoMDM's types leave out. NanoMDM has decoded the message already and will take it: if it cannot be
// read here, it stands for a contact of its device, because refusing it would only have the device send it for ever.
func (s *Service) message(r *mdm.Request, e *mdm.Enrollment, raw []byte) enroll.Message {
	m, err := enroll.ReadMessage(raw)
	if err != nil {
		s.log.Warn("message of a device not readable", zap.Error(err))
		m = enroll.Message{Type: "Connect", UDID: e.UDID, Raw: raw}
		if rs := e.Resolved(); rs != nil {
			m.EnrollmentID, m.UserChannel = rs.DeviceChannelID, rs.IsUserChannel
		}
	}
	m.Certificate, m.Params = enroll.CertificateHash(r.Certificate), r.Params
	m.ID = enroll.MessageID(raw, []byte(m.Certificate))
	return m
}

func statusOf(m enroll.Message, err error) error {
	err = fmt.Errorf("nano: %s: %w", m.Type, err)
	if errors.Is(err, enroll.ErrNoSession) || errors.Is(err, enroll.ErrIdentity) {
		return service.NewHTTPStatusError(http.StatusForbidden, err)
	}
	return err
}
