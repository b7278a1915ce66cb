package access

import (
	"context"
	"time"
)

// Event is one entry of the audit log: who did what to which thing. It holds no personal data but the network address.
type Event struct {
	ID        int64
	Principal string
	Action    string         // such as campaign.pause
	Subject   string         // such as campaign/7
	Detail    map[string]any // what became of which field; under "was", what it was before
	Address   string         // of the network, from which it was asked for; "" for the engine itself and its commands
	At        time.Time
}

// EventFilter selects entries of the audit log; what is zero does not restrict.
type EventFilter struct {
	Principal, Action, Subject string
	Since, Until               *time.Time // from Since on, before Until
}

type callerKey struct{}

// WithCaller notes who asks, for the audit log.
func WithCaller(ctx context.Context, principal string) context.Context {
	return context.WithValue(ctx, callerKey{}, principal)
}

// CallerOf returns the principal that asks; "engine" when nobody does.
func CallerOf(ctx context.Context) string {
	if principal, _ := ctx.Value(callerKey{}).(string); principal != "" {
		return principal
	}
	return "engine"
}

type addressKey struct{}

// WithAddress notes the network address of the caller, for the audit log.
func WithAddress(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

// AddressOf returns the network address of the caller; "" when there is none.
func AddressOf(ctx context.Context) string {
	address, _ := ctx.Value(addressKey{}).(string)
	return address
}
