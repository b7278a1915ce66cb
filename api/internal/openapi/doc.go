// Package openapi is the HTTP API's contract in Go: its requests, its answers and the interface that serves them.
// api/openapi.yaml is the source; all but this file and the test is generated from it.
package openapi

//go:generate go tool -modfile=../../../tools/go.mod oapi-codegen -config config.yaml ../../openapi.yaml
