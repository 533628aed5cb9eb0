package activity

import (
	"context"
	"encoding/json"

	"go.uber.org/zap"

	"github.com/enrollkit/enrollkit/storage"
)

// ZapSink writes each activity as one log line at info level: the kind is the message, the rest are fields.
type ZapSink struct{ log *zap.Logger }

var _ Sink = (*ZapSink)(nil)

// NewZapSink returns a sink that writes to log; nil writes nowhere.
func NewZapSink(log *zap.Logger) *ZapSink {
	if log == nil {
		log = zap.NewNop()
	}
	return &ZapSink{log: log}
}

// Deliver implements Sink. It never fails.
func (s *ZapSink) Deliver(_ context.Context, acts []storage.Activity) error {
	for _, a := range acts {
		fields := []zap.Field{zap.Int64("seq", a.Seq), zap.Time("at", a.At), zap.String("actor", a.Actor)}
		for _, f := range []struct{ key, value string }{
			{"account", a.Account}, {"serial", a.Serial}, {"enrollment_id", a.EnrollmentID},
		} {
			if f.value != "" {
				fields = append(fields, zap.String(f.key, f.value))
			}
		}
		var detail map[string]any
		if json.Unmarshal(a.Detail, &detail) == nil && len(detail) > 0 {
			fields = append(fields, zap.Any("detail", detail))
		}
		s.log.Info(a.Kind, fields...)
	}
	return nil
}
