package abmtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxCursorLength is Apple's bound for the cursor string.
const maxCursorLength = 1000

// cursor is a position in the log of one MDM server entry. A fetch walks positions below bound, which is where
// the log ended when the fetch began; a sync continues from there. Its text is base64 that decodes to
// "1000:0:<epoch milliseconds>…", the shape observed at Apple, and ends in a MAC: forged ones are invalid.
type cursor struct {
	limit    int
	position int
	bound    int // only while a fetch is under way; else equal to position
	issued   time.Time
	late     int // 1 + the position of an event that comes later than it should; 0 for none
}

// fetching tells whether the fetch that made the cursor has more to return.
func (c cursor) fetching() bool { return c.position < c.bound }

func (s *Service) encodeCursor(m *MDMServer, c cursor) string {
	text := fmt.Sprintf("%d:%d:%d:%d", c.limit, c.position, c.issued.UnixMilli(), c.bound)
	if c.late > 0 {
		text += fmt.Sprintf(":%d", c.late)
	}
	return base64.StdEncoding.EncodeToString([]byte(text + ":" + s.cursorMAC(m.uuid, text)))
}

// cursorMAC returns the MAC of a cursor of owner: an MDM server entry, or a list.
func (s *Service) cursorMAC(owner, text string) string {
	mac := hmac.New(sha256.New, s.cursorKey)
	mac.Write([]byte(owner + ":" + text))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// decodeCursor is the inverse of encodeCursor; ok is false for anything this service did not issue to m.
func (s *Service) decodeCursor(m *MDMServer, text string) (c cursor, ok bool) {
	if len(text) > maxCursorLength {
		return cursor{}, false
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return cursor{}, false
	}
	cut := strings.LastIndexByte(string(raw), ':')
	if cut < 0 || !hmac.Equal([]byte(s.cursorMAC(m.uuid, string(raw[:cut]))), raw[cut+1:]) {
		return cursor{}, false
	}
	fields := strings.Split(string(raw[:cut]), ":")
	numbers := make([]int64, len(fields))
	for i, f := range fields {
		if numbers[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return cursor{}, false
		}
	}
	if len(numbers) != 4 && len(numbers) != 5 {
		return cursor{}, false
	}
	c = cursor{limit: int(numbers[0]), position: int(numbers[1]), bound: int(numbers[3]), issued: time.UnixMilli(numbers[2])}
	if len(numbers) == 5 {
		c.late = int(numbers[4])
	}
	return c, true
}
