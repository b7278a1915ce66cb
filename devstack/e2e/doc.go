// Package e2e plays whole stories on the real product: every role a process of its own, killed where the story says so.
// It holds tests alone.
package e2e
