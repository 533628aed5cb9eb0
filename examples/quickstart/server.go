package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"github.com/micromdm/nanomdm/push"
	nanostorage "github.com/micromdm/nanomdm/storage"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/enrollkit/enrollkit/abm"
	"github.com/enrollkit/enrollkit/activity"
	"github.com/enrollkit/enrollkit/depprofile"
	"github.com/enrollkit/enrollkit/enroll"
	"github.com/enrollkit/enrollkit/enroll/nano"
	"github.com/enrollkit/enrollkit/examples/internal/idp"
	"github.com/enrollkit/enrollkit/examples/internal/scepca"
	"github.com/enrollkit/enrollkit/setupexp"
	"github.com/enrollkit/enrollkit/storage"
)

// server is an MDM server with everything enrollkit has for it.
type server struct {
	handler http.Handler // what devices and their agents reach
	engine  *abm.Engine
	tracker *setupexp.Tracker
	board   *board
	feeds   []*activity.Forwarder
}

// serverConfig is what differs between this demonstration and a server of yours.
type serverConfig struct {
	url      string // where devices reach the server, https
	store    storage.Store
	sealer   storage.Sealer
	tls      *localTLS
	deviceCA *x509.Certificate // in place of Apple's
	pusher   push.Pusher       // in place of Apple's push service
	now      func() time.Time
	log      *zap.Logger

	// What a server keeps beside enrollkit's store.
	mdmStore   nanostorage.AllStorage // NanoMDM's
	identityCA *scepca.CA
	provider   *idp.Provider
	software   *software
	sessionKey []byte // signs the session ids that travel through devices
	agentKey   []byte // makes the agents' credentials
}

func newServer(c serverConfig) (*server, error) {
	s := &server{board: newBoard()}
	mux := http.NewServeMux()
	s.handler = mux

	// 1. Apple's inventory, and the profile every device is assigned.
	profile := depprofile.Default(c.url + "/mdm/sso")
	profile.AnchorCerts = depprofile.EncodeCertificates(c.tls.ca)
	resolver, err := abm.ForAll(profile)
	if err != nil {
		return nil, err
	}
	if s.engine, err = abm.New(c.store, c.sealer, resolver,
		abm.WithClock(c.now), abm.WithLogger(c.log), abm.WithVerifyAfter(time.Second), abm.WithPollInterval(time.Second)); err != nil {
		return nil, err
	}

	// 2. The setup experience, which reaches devices through NanoMDM's queue.
	commander, err := nano.NewCommander(c.mdmStore, c.pusher)
	if err != nil {
		return nil, err
	}
	agentKeys, err := setupexp.NewAgentKeys(c.agentKey)
	if err != nil {
		return nil, err
	}
	plans := &planner{agentURL: c.url + "/agent", software: c.software, agentKeys: agentKeys}
	if plans.adminHash, err = setupexp.HashPassword(rand.Reader, randomText()); err != nil {
		return nil, err
	}
	if s.tracker, err = setupexp.New(c.store, plans, commander, c.sealer,
		setupexp.WithClock(c.now), setupexp.WithAgentKeys(agentKeys), setupexp.WithLogger(c.log)); err != nil {
		return nil, err
	}
	mux.Handle("/agent/", http.StripPrefix("/agent", s.tracker.AgentHandler()))
	mux.Handle("GET /software/{name}", c.software)

	// 3. Enrollment, with a sign-in, a minimum OS and identities by SCEP; check-ins by NanoMDM.
	scep, err := c.identityCA.Handler()
	if err != nil {
		return nil, err
	}
	mux.Handle("/scep", scep)
	mux.Handle("/idp/", c.provider)
	keys, err := enroll.NewSessionKeys(c.sessionKey)
	if err != nil {
		return nil, err
	}
	h, err := newEnrollment(c, keys)
	if err != nil {
		return nil, err
	}
	mux.Handle("/mdm/sso", h)
	mux.Handle("/mdm/sso/", h)
	checkIns, err := enroll.NewCheckIns(c.store, keys, enroll.WithObserver(s.tracker), enroll.WithCommander(commander),
		enroll.WithCheckInClock(c.now), enroll.WithCheckInLogger(c.log))
	if err != nil {
		return nil, err
	}
	if err := mountMDM(mux, c.mdmStore, checkIns, c.identityCA.PEM(), c.pusher, randomText()); err != nil {
		return nil, err
	}

	// 4. The activities, to the log and to the board.
	for _, sink := range []activity.Sink{activity.NewZapSink(c.log), s.board} {
		f, err := activity.NewForwarder(c.store, sink, activity.WithInterval(50*time.Millisecond))
		if err != nil {
			return nil, err
		}
		s.feeds = append(s.feeds, f)
	}
	return s, nil
}

// oidcClient is what the identity provider knows of the server.
func oidcClient(url string) idp.Client {
	return idp.Client{ID: "enrollkit", Secret: "quickstart", RedirectURL: url + "/mdm/sso/callback"}
}

// newEnrollment returns what a device meets before it is enrolled.
func newEnrollment(c serverConfig, keys *enroll.SessionKeys) (*enroll.Handler, error) {
	client := oidcClient(c.url)
	signIn, err := enroll.NewOIDC(c.url+"/idp", client.ID, client.Secret,
		enroll.WithProviderName("Quickstart"), enroll.WithOIDCHTTPClient(c.tls.client()))
	if err != nil {
		return nil, err
	}
	fingerprint := sha256.Sum256(c.identityCA.Certificate().Raw)
	identity, err := enroll.NewSCEP(
		enroll.SCEPSettings{URL: c.url + "/scep", CAFingerprint: fingerprint[:]}, challenges{c.identityCA})
	if err != nil {
		return nil, err
	}
	gate, err := enroll.NewOSGate(enroll.FailClosed, enroll.MinimumByFamily(map[string]enroll.OSMinimum{
		"Mac": {Version: "26.0"}, "iPhone": {Version: "26.0"}, "iPad": {Version: "26.0"},
	}))
	if err != nil {
		return nil, err
	}
	return enroll.New(c.url+"/mdm/sso", c.store, keys, enroll.ProfileSettings{
		Identifier: "com.example.quickstart.mdm", DisplayName: "Quickstart MDM", Organization: "Example Inc.",
		Topic: "com.apple.mgmt.External.quickstart", ServerURL: c.url + "/mdm",
		Payloads: []enroll.Payload{enroll.RootCertificate("Quickstart CA", c.tls.ca)},
		Signer:   &enroll.Signer{Certificate: c.tls.signerCert, Key: c.tls.signerKey, Chain: []*x509.Certificate{c.tls.ca}},
	}, identity,
		enroll.WithDeviceCAs(c.deviceCA), enroll.WithSignIn(signIn, c.sealer), enroll.WithOSGate(gate),
		enroll.WithBranding(enroll.Branding{Organization: "Example Inc.", Support: "help@example.com"}),
		enroll.WithClock(c.now), enroll.WithLogger(c.log))
}

// challenges hands out the authority's challenges.
type challenges struct{ ca *scepca.CA }

// IssueChallenge implements enroll.ChallengeIssuer.
func (c challenges) IssueChallenge(ctx context.Context, _ enroll.Candidate) (string, error) {
	return c.ca.Challenge(ctx)
}

// run works until ctx ends.
func (s *server) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return named("engine", s.engine.Run(ctx)) })
	g.Go(func() error { return named("tracker", s.tracker.Run(ctx)) })
	for _, f := range s.feeds {
		g.Go(func() error { return named("activities", f.Run(ctx)) })
	}
	return g.Wait()
}

func named(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
