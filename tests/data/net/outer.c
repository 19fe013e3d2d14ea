// SPDX-License-Identifier: MIT
// Runs a program under an outer sandbox's system call filter: MODE PROGRAM ARGUMENT…
//   listener   has a supervisor already: a listener that nobody reads, for a call nobody makes
//   eperm      no listener may be installed, as under Stockade itself
//   einval     there are no listeners, as in gVisor
//   dumpable   no process may become undumpable
//   getfd      descriptors may not be taken, as under Docker's default profile
//   memory     memory may not be read by process_vm_readv
//   none       an empty filter: the control
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static long install(struct sock_filter *code, unsigned short length, unsigned long flags) {
  struct sock_fprog program = {length, code};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static long refuse(unsigned call, int error) {
  struct sock_filter code[] = {
    LOAD(nr), UNLESS(call, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error), ALLOW,
  };
  return install(code, sizeof code / sizeof *code, 0);
}

// A call with these two arguments, of the second one bit.
static long refuse_call(unsigned call, unsigned first, unsigned bit, int error) {
  struct sock_filter code[] = {
    LOAD(nr), UNLESS(call, 5), LOAD(args[0]), UNLESS(first, 3), LOAD(args[1]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bit, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error), ALLOW,
  };
  return install(code, sizeof code / sizeof *code, 0);
}

static long refuse_listeners(int error) {
  return refuse_call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, error);
}

static long refuse_undumpable(void) {
  struct sock_filter code[] = {
    LOAD(nr), UNLESS(SYS_prctl, 3), LOAD(args[0]), UNLESS(PR_SET_DUMPABLE, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), ALLOW,
  };
  return install(code, sizeof code / sizeof *code, 0);
}

static long listen_already(void) {
  struct sock_filter code[] = {
    LOAD(nr), UNLESS(SYS_acct, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF), ALLOW,
  };
  long listener = install(code, sizeof code / sizeof *code, SECCOMP_FILTER_FLAG_NEW_LISTENER);
  // It ends with its last descriptor.
  return listener < 0 ? listener : fcntl(listener, F_SETFD, 0);
}

int main(int count, char **arguments) {
  if (count < 3 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 2;
  const char *mode = arguments[1];
  long result = !strcmp(mode, "listener") ? listen_already()
    : !strcmp(mode, "eperm")              ? refuse_listeners(EPERM)
    : !strcmp(mode, "einval")             ? refuse_listeners(EINVAL)
    : !strcmp(mode, "dumpable")           ? refuse_undumpable()
    : !strcmp(mode, "getfd")              ? refuse(SYS_pidfd_getfd, EPERM)
    : !strcmp(mode, "memory")             ? refuse(SYS_process_vm_readv, EPERM)
    : !strcmp(mode, "none")               ? refuse(SYS_acct, EPERM)
                                          : -1;
  if (result < 0) {
    perror(mode);
    return 2;
  }
  execvp(arguments[2], arguments + 2);
  perror(arguments[2]);
  return 2;
}
