package procs

import "syscall"

// Attr puts a child in a process group of its own, so that the terminal's
// Ctrl-C reaches only its parent, and asks the kernel to send it orphaned when
// its parent dies. A nil user means the caller's.
func Attr(user *syscall.Credential, orphaned syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: user, Pdeathsig: orphaned}
}
