// SPDX-License-Identifier: MIT
// One function per thing a confined program must not be able to do, called in three ways: as a
// library by Deno's foreign function interface, as a program started by a confined program, and
// outside any sandbox for the control.
//
// Invariant: a probe answers 0 when the kernel did it and the errno when it did not; arguments are
// chosen so that the kernel itself, without a sandbox, answers anything but EPERM or EACCES.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

// Numbers newer than the oldest supported C library.
#define NR_PIDFD_SEND_SIGNAL 424
#define NR_IO_URING_SETUP 425
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_PIDFD_OPEN 434
#define NR_CLONE3 435
#define NR_OPENAT2 437
#define NR_PIDFD_GETFD 438
#define NR_PROCESS_MADVISE 440
#define NR_MOUNT_SETATTR 442
#define NR_FCHMODAT2 452
#define NR_SETXATTRAT 463
#define NR_FILE_SETATTR 469

extern char **environ;
typedef long probe_function(long number, const char *text);

static long answer(long result) { return result < 0 ? errno : 0; }

static long closed(long fd) {
  if (fd < 0) return errno;
  close((int)fd);
  return 0;
}

static long ended(long pid) {
  if (pid < 0) return errno;
  if (pid == 0) syscall(SYS_exit_group, 0);
  int status;
  waitpid((pid_t)pid, &status, 0);
  return 0;
}

// Processes and program images.
static long probe_fork(long n, const char *t) {
#ifdef SYS_fork
  return ended(syscall(SYS_fork));
#else
  return ended(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
#endif
}
static long probe_vfork(long n, const char *t) {
  pid_t pid = vfork();
  if (pid == 0) _exit(0);
  return ended(pid < 0 ? pid : pid);
}
static long probe_clone(long flags, const char *t) { return ended(syscall(SYS_clone, SIGCHLD | flags, 0, 0, 0, 0)); }
static long probe_clone3(long n, const char *t) { return answer(syscall(NR_CLONE3, NULL, 0)); }
static long probe_posix_spawn(long n, const char *t) {
  pid_t pid;
  char *arguments[] = {(char *)t, NULL};
  int error = posix_spawn(&pid, t, NULL, NULL, arguments, environ);
  if (error == 0) waitpid(pid, NULL, 0);
  return error;
}
// These replace the caller when they succeed.
static long probe_execve(long n, const char *t) {
  char *arguments[] = {"echo", "replaced", NULL};
  return answer(syscall(SYS_execve, t, arguments, environ));
}
static long probe_execveat(long n, const char *t) {
  char *arguments[] = {"echo", "replaced", NULL};
  return answer(syscall(SYS_execveat, AT_FDCWD, t, arguments, environ, 0));
}
static long probe_fexecve(long n, const char *t) {
  char *arguments[] = {"echo", "replaced", NULL};
  int fd = open(t, O_PATH | O_CLOEXEC);
  if (fd < 0) return errno;
  return answer(syscall(SYS_execveat, fd, "", arguments, environ, AT_EMPTY_PATH));
}
// These start it in a child; its own exit code must be 0.
static long run_path(const char *path) {
  pid_t pid = fork();
  if (pid < 0) return errno;
  if (pid == 0) {
    char *arguments[] = {(char *)path, NULL};
    execve(path, arguments, environ);
    _exit(errno);
  }
  int status;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}
static long probe_run(long n, const char *t) { return run_path(t); }
static long copy_to(int to, const char *from) {
  char buffer[65536];
  int fd = open(from, O_RDONLY);
  if (fd < 0) return errno;
  ssize_t got;
  while ((got = read(fd, buffer, sizeof buffer)) > 0)
    if (write(to, buffer, (size_t)got) != got) return errno;
  close(fd);
  return 0;
}
// FROM>TO: copies a program into a writable directory and starts the copy.
static long probe_copy_run(long n, const char *t) {
  char from[4096];
  const char *to = strchr(t, '>') + 1;
  snprintf(from, sizeof from, "%.*s", (int)(to - t - 1), t);
  int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
  if (fd < 0) return errno + 1000;
  long error = copy_to(fd, from);
  close(fd);
  return error ? error + 1000 : run_path(to);
}
static long probe_memfd_create(long n, const char *t) { return closed(syscall(SYS_memfd_create, "probe", 0)); }
static long probe_memfd_run(long n, const char *t) {
  long fd = syscall(SYS_memfd_create, "probe", 0);
  if (fd < 0) return errno;
  long error = copy_to((int)fd, t);
  if (error) return error + 1000;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%ld", fd);
  error = run_path(path);
  close((int)fd);
  return error;
}

// Files.
static long probe_open(long flags, const char *t) { return closed(syscall(SYS_openat, AT_FDCWD, t, (int)flags, 0644)); }
static long probe_openat2(long flags, const char *t) {
  unsigned long how[3] = {(unsigned long)flags, 0, 0};
  return closed(syscall(NR_OPENAT2, AT_FDCWD, t, how, sizeof how));
}
// Prints a file; bytes that separate variables in an environment become line ends.
static long probe_cat(long n, const char *t) {
  char buffer[65536];
  int fd = open(t, O_RDONLY);
  if (fd < 0) return errno;
  ssize_t got;
  while ((got = read(fd, buffer, sizeof buffer)) > 0) {
    for (ssize_t i = 0; i < got; i++)
      if (!buffer[i]) buffer[i] = '\n';
    if (write(1, buffer, (size_t)got) != got) break;
  }
  long error = got < 0 ? errno : 0;
  close(fd);
  if (write(1, "\n", 1) != 1) return EPIPE;
  return error;
}
static long probe_list(long n, const char *t) {
  DIR *directory = opendir(t);
  if (!directory) return errno;
  errno = 0;
  long error = readdir(directory) ? 0 : errno;
  closedir(directory);
  return error;
}
static long probe_stat(long n, const char *t) {
  struct stat found;
  return answer(stat(t, &found));
}
static long probe_readlink(long n, const char *t) {
  char buffer[4096];
  return answer(readlink(t, buffer, sizeof buffer));
}
static long probe_truncate(long n, const char *t) { return answer(truncate(t, 0)); }
static long probe_unlink(long n, const char *t) { return answer(unlink(t)); }
static long probe_rmdir(long n, const char *t) { return answer(rmdir(t)); }
static long probe_mkdir(long n, const char *t) { return answer(mkdir(t, 0755)); }
static long probe_symlink(long n, const char *t) { return answer(symlink("target", t)); }
static long probe_mkfifo(long n, const char *t) { return answer(mkfifo(t, 0644)); }
static long probe_mknod(long n, const char *t) { return answer(mknod(t, S_IFCHR | 0644, makedev(1, 3))); }
// FROM>TO
static long two(const char *t, int (*call)(const char *, const char *)) {
  char from[4096];
  const char *to = strchr(t, '>') + 1;
  snprintf(from, sizeof from, "%.*s", (int)(to - t - 1), t);
  return answer(call(from, to));
}
static long probe_rename(long n, const char *t) { return two(t, rename); }
static long probe_link(long n, const char *t) { return two(t, link); }
static int exchange(const char *from, const char *to) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 2 /* RENAME_EXCHANGE */);
}
static long probe_exchange(long n, const char *t) { return two(t, exchange); }
// Opens the directory first, then the name inside it, as code with a stale descriptor would.
static long probe_openat(long n, const char *t) {
  char directory[4096];
  const char *name = strrchr(t, '/') + 1;
  snprintf(directory, sizeof directory, "%.*s", (int)(name - t - 1), t);
  int fd = open(directory, O_PATH | O_DIRECTORY);
  if (fd < 0) return errno;
  long error = closed(openat(fd, name, O_RDONLY));
  close(fd);
  return error;
}
static long probe_reopen(long flags, const char *t) {
  char path[64];
  int fd = open(t, O_PATH);
  if (fd < 0) return errno;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  long error = closed(open(path, (int)flags));
  close(fd);
  return error;
}
// Metadata.
static long probe_chmod(long n, const char *t) { return answer(chmod(t, 0644)); }
static long probe_fchmod(long n, const char *t) {
  int fd = open(t, O_RDONLY);
  if (fd < 0) return errno + 1000;
  long error = answer(fchmod(fd, 0644));
  close(fd);
  return error;
}
static long probe_fchmodat2(long n, const char *t) { return answer(syscall(NR_FCHMODAT2, AT_FDCWD, t, 0644, 0)); }
static long probe_chown(long n, const char *t) { return answer(chown(t, geteuid(), getegid())); }
static long probe_utimes(long n, const char *t) { return answer(utimensat(AT_FDCWD, t, NULL, 0)); }
static long probe_setxattr(long n, const char *t) { return answer(setxattr(t, "user.probe", "x", 1, 0)); }
static long probe_removexattr(long n, const char *t) {
  long error = answer(removexattr(t, "user.probe"));
  return error;
}
static long probe_setxattrat(long n, const char *t) {
  struct { unsigned long value; unsigned size, flags; } arguments = {(unsigned long)"x", 1, 0};
  return answer(syscall(NR_SETXATTRAT, AT_FDCWD, t, 0, "user.probe", &arguments, sizeof arguments));
}
static long probe_file_setattr(long n, const char *t) { return answer(syscall(NR_FILE_SETATTR, AT_FDCWD, t, NULL, 0, 0)); }
static long probe_setflags(long n, const char *t) {
  int flags = 0, fd = open(t, O_RDONLY);
  if (fd < 0) return errno + 1000;
  ioctl(fd, FS_IOC_GETFLAGS, &flags);
  long error = answer(ioctl(fd, FS_IOC_SETFLAGS, &flags));
  close(fd);
  return error;
}
static long probe_name_to_handle(long n, const char *t) {
  struct { struct file_handle head; char body[128]; } handle;
  int mount;
  handle.head.handle_bytes = 128;
  return answer(name_to_handle_at(AT_FDCWD, t, &handle.head, &mount, 0));
}
static long probe_open_by_handle(long n, const char *t) { return closed(open_by_handle_at(-1, NULL, O_RDONLY)); }

// Other processes; the number is the victim's.
static long probe_kill(long pid, const char *t) { return answer(kill((pid_t)pid, 0)); }
static long probe_kill_self(long n, const char *t) {
  if (kill(getpid(), 0) < 0) return errno;
  return answer(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0));
}
static long probe_kill_group(long pid, const char *t) { return answer(kill((pid_t)-pid, 0)); }
static long probe_tgkill(long pid, const char *t) { return answer(syscall(SYS_tgkill, pid, pid, 0)); }
static long probe_tkill(long pid, const char *t) { return answer(syscall(SYS_tkill, pid, 0)); }
static long probe_sigqueue(long pid, const char *t) {
  union sigval value = {0};
  return answer(sigqueue((pid_t)pid, 0, value));
}
static long probe_pidfd_signal(long pid, const char *t) {
  long fd = syscall(NR_PIDFD_OPEN, pid, 0);
  if (fd < 0) return errno;
  long error = answer(syscall(NR_PIDFD_SEND_SIGNAL, fd, 0, NULL, 0));
  close((int)fd);
  return error;
}
static long probe_pidfd_getfd(long pid, const char *t) {
  long fd = syscall(NR_PIDFD_OPEN, pid, 0);
  if (fd < 0) return errno;
  long error = closed(syscall(NR_PIDFD_GETFD, fd, 0, 0));
  close((int)fd);
  return error;
}
// Makes the kernel send the victim a real signal about a pipe.
static long probe_sigio(long pid, const char *t) {
  int ends[2];
  if (pipe(ends) < 0) return errno;
  long error = 0;
  if (fcntl(ends[0], F_SETOWN, (int)pid) < 0 || fcntl(ends[0], F_SETSIG, SIGKILL) < 0 ||
      fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK) < 0 || write(ends[1], "x", 1) != 1)
    error = errno;
  close(ends[0]);
  close(ends[1]);
  return error;
}
static long probe_ptrace(long pid, const char *t) {
  return answer(ptrace(PTRACE_SEIZE, (pid_t)pid, NULL, NULL));
}
static long vm(long pid, long number) {
  char byte[8];
  struct iovec local = {byte, sizeof byte}, remote = {(void *)0x1000, sizeof byte};
  return answer(syscall(number, pid, &local, 1, &remote, 1, 0));
}
static long probe_vm_readv(long pid, const char *t) { return vm(pid, SYS_process_vm_readv); }
static long probe_vm_writev(long pid, const char *t) { return vm(pid, SYS_process_vm_writev); }
static long probe_kcmp(long pid, const char *t) { return answer(syscall(SYS_kcmp, getpid(), pid, 1 /* KCMP_VM */, 0, 0)); }
static long probe_process_madvise(long pid, const char *t) {
  return answer(syscall(NR_PROCESS_MADVISE, -1, NULL, 0, 0, 0));
}
static long probe_setpriority(long pid, const char *t) { return answer(setpriority(PRIO_PROCESS, (id_t)pid, 1)); }
static long probe_setpriority_group(long pid, const char *t) { return answer(setpriority(PRIO_PGRP, (id_t)pid, 1)); }
static long probe_prlimit(long pid, const char *t) {
  struct rlimit limit = {64, 64};
  return answer(prlimit((pid_t)pid, RLIMIT_NOFILE, &limit, NULL));
}
static long probe_setaffinity(long pid, const char *t) {
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  return answer(sched_setaffinity((pid_t)pid, sizeof set, &set));
}
static long probe_setscheduler(long pid, const char *t) {
  struct sched_param parameters = {0};
  return answer(sched_setscheduler((pid_t)pid, SCHED_BATCH, &parameters));
}
static long probe_setattr(long pid, const char *t) {
  unsigned attributes[14] = {48, SCHED_BATCH, [4] = 19 /* nice, which may only rise */};
  return answer(syscall(SYS_sched_setattr, pid, attributes, 0));
}
static long probe_ioprio(long pid, const char *t) { return answer(syscall(SYS_ioprio_set, 1, pid, (2 << 13) | 6)); }
static long probe_move_pages(long pid, const char *t) { return answer(syscall(SYS_move_pages, pid, 0, NULL, NULL, NULL, 0)); }

// Namespaces and mounts.
static long probe_unshare(long flags, const char *t) { return answer(unshare((int)flags)); }
static long probe_setns(long n, const char *t) { return answer(setns(-1, 0)); }
static long probe_mount(long n, const char *t) { return answer(syscall(SYS_mount, NULL, NULL, NULL, 0, NULL)); }
static long probe_umount(long n, const char *t) { return answer(syscall(SYS_umount2, "/", -1)); }
static long probe_open_tree(long n, const char *t) { return closed(syscall(NR_OPEN_TREE, -1, "x", 0)); }
static long probe_move_mount(long n, const char *t) { return answer(syscall(NR_MOVE_MOUNT, -1, "x", -1, "x", 0)); }
static long probe_fsopen(long n, const char *t) { return closed(syscall(NR_FSOPEN, NULL, 0)); }
static long probe_mount_setattr(long n, const char *t) { return answer(syscall(NR_MOUNT_SETATTR, -1, "x", 0, NULL, 0)); }
static long probe_pivot_root(long n, const char *t) { return answer(syscall(SYS_pivot_root, NULL, NULL)); }
static long probe_chroot(long n, const char *t) { return answer(chroot("/")); }

// Kernel surface.
static long probe_io_uring(long n, const char *t) { return closed(syscall(NR_IO_URING_SETUP, 1, NULL)); }
static long probe_userfaultfd(long n, const char *t) { return closed(syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */)); }
static long probe_bpf(long n, const char *t) { return answer(syscall(SYS_bpf, 9999, NULL, 0)); }
static long probe_perf(long n, const char *t) { return closed(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)); }
static long probe_add_key(long n, const char *t) { return answer(syscall(SYS_add_key, "user", "probe", "x", 1, -2)); }
static long probe_request_key(long n, const char *t) { return answer(syscall(SYS_request_key, "user", "absent", NULL, 0)); }
static long probe_keyctl(long n, const char *t) { return answer(syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -2, 1)); }
static long probe_personality(long n, const char *t) {
  long error = answer(personality(ADDR_NO_RANDOMIZE));
  if (!error) personality(0);
  return error;
}
static long probe_shmget(long n, const char *t) {
  int id = shmget(IPC_PRIVATE, 4096, 0600);
  if (id < 0) return errno;
  return answer(shmctl(id, IPC_RMID, NULL));
}
static long probe_semget(long n, const char *t) {
  int id = semget(IPC_PRIVATE, 1, 0600);
  if (id < 0) return errno;
  return answer(semctl(id, 0, IPC_RMID));
}
static long probe_msgget(long n, const char *t) {
  int id = msgget(IPC_PRIVATE, 0600);
  if (id < 0) return errno;
  return answer(msgctl(id, IPC_RMID, NULL));
}
static long probe_mq_open(long n, const char *t) {
  char name[64];
  snprintf(name, sizeof name, "/probe-%d", getpid());
  mqd_t queue = mq_open(name, O_RDWR | O_CREAT, 0600, NULL);
  if (queue < 0) return errno;
  mq_unlink(name);
  return 0;
}
static long probe_seccomp_listener(long n, const char *t) { return closed(syscall(SYS_seccomp, 1, 8, NULL)); }
static long probe_dumpable(long n, const char *t) {
  if (prctl(PR_SET_DUMPABLE, 0) < 0) return errno;
  if (prctl(PR_GET_DUMPABLE) != 0) return EPERM; // answered with success, and nothing changed
  prctl(PR_SET_DUMPABLE, 1);
  return 0;
}
static long probe_pdeathsig(long n, const char *t) { return answer(prctl(PR_SET_PDEATHSIG, 0)); }
static long probe_ptracer(long n, const char *t) { return answer(prctl(PR_SET_PTRACER, -1)); }
static long probe_ioctl(long request, const char *t) {
  int ends[2];
  char argument[256] = "x";
  if (pipe(ends) < 0) return errno;
  long error = answer(syscall(SYS_ioctl, ends[0], request, argument));
  close(ends[0]);
  close(ends[1]);
  return error;
}
static long probe_terminal_ioctl(long request, const char *t) {
  char argument[256] = "x";
  return answer(syscall(SYS_ioctl, 0, request, argument));
}
static long probe_finit_module(long n, const char *t) { return answer(syscall(SYS_finit_module, -1, "", 0)); }
static long probe_fanotify(long n, const char *t) { return closed(syscall(SYS_fanotify_init, -1, 0)); }
static long probe_syslog(long n, const char *t) { return answer(syscall(SYS_syslog, 10, NULL, 0)); }
#ifdef __x86_64__
static long probe_modify_ldt(long n, const char *t) { return answer(syscall(SYS_modify_ldt, 0, NULL, 0)); }
static long probe_iopl(long n, const char *t) { return answer(syscall(SYS_iopl, 0)); }
static long probe_x32(long n, const char *t) { return answer(syscall(0x40000000 | 39)); }
// getpid by the 32-bit table.
static long probe_int80(long n, const char *t) {
  long result = 20;
  __asm__ volatile("int $0x80" : "+a"(result) : : "r8", "r9", "r10", "r11", "memory");
  return result > 0 ? 0 : -result;
}
#endif
static long probe_syscall(long number, const char *t) { return answer(syscall(number, -1, 0, 0, 0, 0, 0)); }

// Sockets; the text is TYPE,PROTOCOL.
static long probe_socket(long family, const char *t) {
  int type = 0, protocol = 0;
  sscanf(t, "%d,%d", &type, &protocol);
  return closed(socket((int)family, type, protocol));
}
static long probe_socketpair(long type, const char *t) {
  int ends[2];
  if (socketpair(AF_UNIX, (int)type, 0, ends) < 0) return errno;
  char byte;
  long error = write(ends[0], "x", 1) == 1 && read(ends[1], &byte, 1) == 1 ? 0 : errno;
  close(ends[0]);
  close(ends[1]);
  return error;
}
// A datagram pair, one end of which is sent from to a socket by its path.
static long probe_pair_sendto(long n, const char *t) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0) return errno;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, t, sizeof address.sun_path - 1);
  long error = answer(sendto(ends[0], "x", 1, 0, (struct sockaddr *)&address, sizeof address));
  close(ends[0]);
  close(ends[1]);
  return error;
}
static struct sockaddr_in loopback(long port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}
static long probe_connect(long port, const char *t) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  struct sockaddr_in address = loopback(port);
  long error = answer(connect(fd, (struct sockaddr *)&address, sizeof address));
  close(fd);
  return error;
}
static long probe_fastopen(long port, const char *t) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  struct sockaddr_in address = loopback(port);
  long error = answer(sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address));
  close(fd);
  return error;
}
static long probe_udp(long port, const char *t) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return errno;
  struct sockaddr_in address = loopback(port);
  long error = answer(sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof address));
  close(fd);
  return error;
}
static long probe_listen(long n, const char *t) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  long error = answer(listen(fd, 1));
  close(fd);
  return error;
}
// The text is a path, or after `@` an abstract name.
static long probe_unix_connect(long n, const char *t) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, t, sizeof address.sun_path - 1);
  if (*t == '@') address.sun_path[0] = 0;
  socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(t));
  long error = answer(connect(fd, (struct sockaddr *)&address, length));
  close(fd);
  return error;
}

// What the process itself looks like.
// The lowest descriptor from the given one on that is open, as 1000 + number; 0 when none is.
static long probe_descriptor(long from, const char *t) {
  for (long fd = from; fd < 1024; fd++) {
    char path[64], target[4096];
    struct stat found;
    if (fstat((int)fd, &found) < 0) continue;
    snprintf(path, sizeof path, "/proc/self/fd/%ld", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length > 0 && (target[length] = 0, strstr(target, t))) return 1000 + fd;
  }
  return 0;
}
static long probe_environ(long n, const char *t) {
  for (char **variable = environ; *variable; variable++) printf("%s\n", *variable);
  fflush(stdout);
  return 0;
}
static long probe_core_limit(long n, const char *t) {
  struct rlimit limit;
  getrlimit(RLIMIT_CORE, &limit);
  return limit.rlim_max == 0 ? 0 : 1;
}

#define ENTRY(name) {#name, probe_##name}
static const struct { const char *name; probe_function *function; } PROBES[] = {
  ENTRY(fork), ENTRY(vfork), ENTRY(clone), ENTRY(clone3), ENTRY(posix_spawn), ENTRY(execve),
  ENTRY(execveat), ENTRY(fexecve), ENTRY(run), ENTRY(copy_run), ENTRY(memfd_create), ENTRY(memfd_run),
  ENTRY(open), ENTRY(openat2), ENTRY(cat), ENTRY(list), ENTRY(stat), ENTRY(readlink),
  ENTRY(truncate), ENTRY(unlink), ENTRY(rmdir), ENTRY(mkdir), ENTRY(symlink), ENTRY(mkfifo),
  ENTRY(mknod), ENTRY(rename), ENTRY(link), ENTRY(exchange), ENTRY(openat), ENTRY(reopen),
  ENTRY(chmod), ENTRY(fchmod), ENTRY(fchmodat2), ENTRY(chown), ENTRY(utimes), ENTRY(setxattr),
  ENTRY(removexattr), ENTRY(setxattrat), ENTRY(file_setattr), ENTRY(setflags),
  ENTRY(name_to_handle), ENTRY(open_by_handle), ENTRY(kill), ENTRY(kill_self), ENTRY(kill_group), ENTRY(tgkill),
  ENTRY(tkill), ENTRY(sigqueue), ENTRY(pidfd_signal), ENTRY(pidfd_getfd), ENTRY(sigio),
  ENTRY(ptrace), ENTRY(vm_readv), ENTRY(vm_writev), ENTRY(kcmp), ENTRY(process_madvise),
  ENTRY(setpriority), ENTRY(setpriority_group), ENTRY(prlimit), ENTRY(setaffinity),
  ENTRY(setscheduler), ENTRY(setattr), ENTRY(ioprio), ENTRY(move_pages), ENTRY(unshare),
  ENTRY(setns), ENTRY(mount), ENTRY(umount), ENTRY(open_tree), ENTRY(move_mount), ENTRY(fsopen),
  ENTRY(mount_setattr), ENTRY(pivot_root), ENTRY(chroot), ENTRY(io_uring), ENTRY(userfaultfd),
  ENTRY(bpf), ENTRY(perf), ENTRY(add_key), ENTRY(request_key), ENTRY(keyctl), ENTRY(personality),
  ENTRY(shmget), ENTRY(semget), ENTRY(msgget), ENTRY(mq_open), ENTRY(seccomp_listener),
  ENTRY(dumpable), ENTRY(pdeathsig), ENTRY(ptracer), ENTRY(ioctl), ENTRY(terminal_ioctl),
  ENTRY(finit_module), ENTRY(fanotify), ENTRY(syslog),
#ifdef __x86_64__
  ENTRY(modify_ldt), ENTRY(iopl), ENTRY(x32), ENTRY(int80),
#endif
  ENTRY(syscall), ENTRY(socket), ENTRY(socketpair), ENTRY(pair_sendto), ENTRY(connect),
  ENTRY(fastopen), ENTRY(udp), ENTRY(listen), ENTRY(unix_connect), ENTRY(descriptor),
  ENTRY(environ), ENTRY(core_limit),
};

long probe(const char *name, long number, const char *text) {
  for (size_t i = 0; i < sizeof PROBES / sizeof *PROBES; i++)
    if (strcmp(PROBES[i].name, name) == 0) return PROBES[i].function(number, text);
  return -1;
}

int main(int count, char **items) {
  for (int i = 1; i < count; i++) {
    char name[64] = "";
    long number = 0;
    int used = 0;
    if (sscanf(items[i], "%63[^:]:%ld:%n", name, &number, &used) < 2 || !used) return 2;
    long errno_seen = probe(name, number, items[i] + used);
    printf("%s=%ld\n", items[i], errno_seen);
    fflush(stdout);
  }
  return 0;
}
