// Package oidc signs people in with an identity provider that speaks OpenID Connect: the authorization code flow with PKCE,
// a state and a nonce. The provider is asked for its addresses and keys when somebody first signs in.
package oidc

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/event-stream-engine/ese/internal/access"
	"github.com/event-stream-engine/ese/internal/fault"
)

// Config says which provider, and who we are to it.
type Config struct {
	Issuer       string // the URL under which it publishes its configuration
	ClientID     string
	ClientSecret string // optional for a public client
	RedirectURL  string // where it sends the browser back to
	Now          func() time.Time
}

// Client speaks to one provider. Make it with New.
type Client struct {
	config Config
	http   *http.Client

	mu       sync.Mutex
	provider *oidc.Provider // nil until it has answered once
}

// answerTime is how long the provider may take for each answer.
const answerTime = 10 * time.Second

// New makes a client; it asks the provider nothing yet.
func New(config Config) *Client {
	return &Client{config: config, http: &http.Client{Timeout: answerTime}}
}

// pending is what the browser keeps while its user is at the provider.
type pending struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
}

// Begin returns where to send the browser, and what Finish wants to know again.
func (c *Client) Begin(ctx context.Context) (address, state string, err error) {
	client, _, err := c.discover(ctx)
	if err != nil {
		return "", "", err
	}
	p := pending{State: access.NewToken(), Nonce: access.NewToken(), Verifier: oauth2.GenerateVerifier()}
	raw, err := json.Marshal(p)
	if err != nil {
		return "", "", fmt.Errorf("state: %w", err)
	}
	address = client.AuthCodeURL(p.State, oidc.Nonce(p.Nonce), oauth2.S256ChallengeOption(p.Verifier))
	return address, base64.RawURLEncoding.EncodeToString(raw), nil
}

// Finish exchanges the code that the browser brings back for whom the provider vouches for. fault.Invalid when the answer does not
// belong to state, or the provider refused.
func (c *Client) Finish(ctx context.Context, state string, answer url.Values) (access.Identity, error) {
	var p pending
	raw, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil || json.Unmarshal(raw, &p) != nil || p.State == "" || p.Nonce == "" ||
		subtle.ConstantTimeCompare([]byte(p.State), []byte(answer.Get("state"))) != 1 {
		return access.Identity{}, fault.New(fault.Invalid, "this sign-in was not begun here, or took too long: try again")
	}
	if answer.Get("error") != "" {
		return access.Identity{}, fault.New(fault.Invalid, "the identity provider did not sign you in")
	}
	client, provider, err := c.discover(ctx)
	if err != nil {
		return access.Identity{}, err
	}
	token, err := client.Exchange(c.context(ctx), answer.Get("code"), oauth2.VerifierOption(p.Verifier))
	if _, refused := errors.AsType[*oauth2.RetrieveError](err); refused {
		return access.Identity{}, fault.New(fault.Invalid, "the identity provider did not take its own code back: try again")
	} else if err != nil {
		return access.Identity{}, fmt.Errorf("identity provider: %w", err)
	}
	rawID, _ := token.Extra("id_token").(string)
	id, err := provider.VerifierContext(c.context(ctx), &oidc.Config{ClientID: c.config.ClientID, Now: c.config.Now}).Verify(ctx, rawID)
	if err != nil || subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(p.Nonce)) != 1 {
		return access.Identity{}, fault.New(fault.Invalid, "what the identity provider said cannot be trusted: try again")
	}
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
		Name     string `json:"name"`
	}
	if err := id.Claims(&claims); err != nil {
		return access.Identity{}, fault.New(fault.Invalid, "what the identity provider said cannot be read")
	}
	return access.Identity{Email: claims.Email, Verified: claims.Verified, Name: claims.Name}, nil
}

// context has the libraries use our HTTP client.
func (c *Client) context(ctx context.Context) context.Context { return oidc.ClientContext(ctx, c.http) }

// discover asks the provider for its addresses, until it has answered once.
func (c *Client) discover(ctx context.Context) (*oauth2.Config, *oidc.Provider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.provider == nil {
		provider, err := oidc.NewProvider(c.context(context.WithoutCancel(ctx)), c.config.Issuer) // it keeps the context for its keys
		if err != nil {
			return nil, nil, fmt.Errorf("identity provider: %w", err)
		}
		c.provider = provider
	}
	return &oauth2.Config{
		ClientID: c.config.ClientID, ClientSecret: c.config.ClientSecret, RedirectURL: c.config.RedirectURL,
		Endpoint: c.provider.Endpoint(), Scopes: []string{oidc.ScopeOpenID, "email", "profile"},
	}, c.provider, nil
}
