package stack

import (
	"context"
	"hash/fnv"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// watchEvery is how often the sources are looked at. Polling a tree of a few
// hundred files costs less than a millisecond and works on every file system.
const watchEvery = 500 * time.Millisecond

// sources are the kinds of files that end up in the product's binary.
var sources = []string{".go", ".mod", ".sum", ".sql", ".html", ".css", ".js", ".yaml", ".svg", ".csv"}

// notSources are the folders at any depth that never do.
var notSources = []string{".git", ".local", ".ci", "bin", "devstack", "docs", "node_modules", "testdata", "tools"}

// Watch calls changed each time the product's sources below root have changed
// and then rested for one look, until ctx ends.
func Watch(ctx context.Context, root string, changed func()) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	built := fingerprint(root)
	last := built
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := fingerprint(root)
		rested := now == last
		last = now
		if rested && now != built {
			built = now
			changed()
		}
	}
}

// fingerprint is a hash over path, size and time of every source file. A file
// that vanishes while being looked at is a change like any other.
func fingerprint(root string) uint64 {
	hash := fnv.New64a()
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // see above
		case entry.IsDir() && path != root && slices.Contains(notSources, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || !slices.Contains(sources, filepath.Ext(path)) || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		hash.Write([]byte(path))
		hash.Write(info.ModTime().AppendFormat(nil, time.RFC3339Nano))
		hash.Write([]byte{byte(info.Size()), byte(info.Size() >> 8), byte(info.Size() >> 16), byte(info.Size() >> 24)})
		return nil
	})
	return hash.Sum64()
}
