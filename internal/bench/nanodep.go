package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/micromdm/nanodep/client"
	"github.com/micromdm/nanodep/godep"
	"github.com/micromdm/nanodep/sync"
)

// nanodepStore is the least nanodep needs: a token, the server's address and room for a cursor.
type nanodepStore struct{ url, cursor string }

// RetrieveAuthTokens implements client.AuthTokensRetriever.
func (*nanodepStore) RetrieveAuthTokens(context.Context, string) (*client.OAuth1Tokens, error) {
	return &client.OAuth1Tokens{
		ConsumerKey: "CK_bench", ConsumerSecret: "CS_bench", AccessToken: "AT_bench", AccessSecret: "AS_bench",
		AccessTokenExpiry: time.Now().Add(time.Hour),
	}, nil
}

// RetrieveConfig implements client.ConfigRetriever.
func (s *nanodepStore) RetrieveConfig(context.Context, string) (*client.Config, error) {
	return &client.Config{BaseURL: s.url}, nil
}

// RetrieveCursor implements sync.CursorStorage.
func (s *nanodepStore) RetrieveCursor(context.Context, string) (string, error) { return s.cursor, nil }

// StoreCursor implements sync.CursorStorage.
func (s *nanodepStore) StoreCursor(_ context.Context, _, cursor string) error {
	s.cursor = cursor
	return nil
}

const depName = "bench"

// nanodepDecode is what godep.Client.Do does with the body of an answer.
func nanodepDecode(page []byte) (int, error) {
	var p godep.FetchDeviceResponseJson
	err := json.NewDecoder(bytes.NewReader(page)).Decode(&p)
	return len(p.Devices), err
}

// nanodepClient reads the full list with godep's client.
func nanodepClient(ctx context.Context, url string) (int, error) {
	c := godep.NewClient(&nanodepStore{url: url})
	devices := 0
	for cursor, more := "", true; more; {
		p, err := c.FetchDevices(ctx, depName, godep.WithCursor(cursor), godep.WithLimit(pageSize))
		if err != nil {
			return devices, err
		}
		devices += len(p.Devices)
		cursor, more = p.Cursor, p.MoreToFollow
	}
	return devices, nil
}

// nanodepSyncer reads the full list, and then what has changed since, with nanodep's syncer. Its callback does nothing with
// the devices but count them.
func nanodepSyncer(ctx context.Context, url string) (int, error) {
	store := &nanodepStore{url: url}
	devices := 0
	s := sync.NewSyncer(godep.NewClient(store), depName, store, sync.WithLimit(pageSize),
		sync.WithCallback(func(_ context.Context, _ bool, p *godep.FetchDeviceResponseJson) error {
			devices += len(p.Devices)
			return nil
		}))
	err := s.Run(ctx)
	return devices, err
}

// nanodepAssign assigns a profile to serials with godep's client, a thousand per call.
func nanodepAssign(ctx context.Context, url string, n int) (int, error) {
	c := godep.NewClient(&nanodepStore{url: url})
	done := 0
	for first := 0; first < n; first += pageSize {
		serials := make([]string, 0, pageSize)
		for i := first; i < min(first+pageSize, n); i++ {
			serials = append(serials, serial(i))
		}
		r, err := c.AssignProfile(ctx, depName, profileUUID, serials...)
		if err != nil {
			return done, err
		}
		for _, result := range r.Devices {
			if result != godep.AssignProfileResponseJsonDevicesValueSUCCESS {
				return done, fmt.Errorf("assign: %s", result)
			}
			done++
		}
	}
	return done, nil
}
