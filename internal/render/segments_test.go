package render_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/event-stream-engine/ese/internal/render"
)

func TestSegments(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body string
		want       int
	}{
		{"nothing", "", 1},
		{"short", "Hello", 1},
		{"as long as one may be", strings.Repeat("a", 160), 1},
		{"split", strings.Repeat("a", 161), 2},
		{"two full parts", strings.Repeat("a", 306), 2},
		{"a third", strings.Repeat("a", 307), 3},
		{"accents of the alphabet", strings.Repeat("é", 160), 1},
		{"characters that take two places", strings.Repeat("€", 80), 1},
		{"one too many of those", strings.Repeat("€", 81), 2},
		{"another script", strings.Repeat("අ", 70), 1},
		{"another script, split", strings.Repeat("අ", 71), 2},
		{"two parts of it", strings.Repeat("අ", 134), 2},
		{"characters beyond the plane", strings.Repeat("😀", 36), 2},
	} {
		require.Equal(t, tt.want, render.Segments(tt.body), tt.name)
	}
}
