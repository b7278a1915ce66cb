//go:build !linux

package procs

import "syscall"

// Attr puts a child in a process group of its own, so that the terminal's
// Ctrl-C reaches only its parent. Only Linux can also end a child with its
// parent; elsewhere the recorded process ids do. A nil user means the
// caller's.
func Attr(user *syscall.Credential, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: user}
}
