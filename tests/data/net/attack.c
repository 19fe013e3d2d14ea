// SPDX-License-Identifier: MIT
// One function per way a connection or datagram may leave a process, called as those of `probe.c`:
// as a library by Deno, as a program, and outside any sandbox. TEXT is ADDRESS,PORT and where two
// peers are needed ADDRESS,PORT,ADDRESS,PORT.
//
// Invariant: a probe answers 0 when the kernel did it and the errno when it did not.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef TCP_FASTOPEN_CONNECT
#define TCP_FASTOPEN_CONNECT 30
#endif
#define PROTOCOL_MPTCP 262

struct peer {
  struct sockaddr_storage address;
  socklen_t length;
};
static struct peer first, second;

static void parse(const char *text) {
  char copy[256];
  snprintf(copy, sizeof copy, "%s", text);
  struct peer *peers[] = {&first, &second};
  char *rest = copy;
  for (int i = 0; i < 2; i++) {
    char *host = strsep(&rest, ","), *port = strsep(&rest, ",");
    if (!host || !port) return;
    memset(peers[i], 0, sizeof *peers[i]);
    struct sockaddr_in *four = (void *)&peers[i]->address;
    struct sockaddr_in6 *six = (void *)&peers[i]->address;
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
      four->sin_family = AF_INET;
      four->sin_port = htons((unsigned short)atoi(port));
      peers[i]->length = sizeof *four;
    } else if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
      six->sin6_family = AF_INET6;
      six->sin6_port = htons((unsigned short)atoi(port));
      peers[i]->length = sizeof *six;
    }
  }
}

static long ended(int fd, long result) {
  long error = result < 0 ? errno : 0;
  close(fd);
  return error;
}
static struct sockaddr *where(struct peer *peer) { return (struct sockaddr *)&peer->address; }
static int family(void) { return first.address.ss_family; }

#define OPEN(fd, type, protocol)                  \
  int fd = socket(family(), (type), (protocol));  \
  if (fd < 0) return errno

static long probe_connect(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  return ended(fd, connect(fd, where(&first), first.length));
}
static long probe_connect_raw(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  return ended(fd, syscall(SYS_connect, fd, where(&first), first.length));
}
// The length says more than there is: what is behind it must not matter.
static long probe_connect_long(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  return ended(fd, connect(fd, where(&first), 128));
}
static long probe_connect_nonblocking(long n) {
  OPEN(fd, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connect(fd, where(&first), first.length) < 0 && errno != EINPROGRESS) return ended(fd, -1);
  struct pollfd wait = {fd, POLLOUT, 0};
  poll(&wait, 1, 20000);
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  close(fd);
  return error;
}
static long probe_connect_bound(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  struct sockaddr_in any = {.sin_family = AF_INET};
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(fd, (void *)&any, sizeof any);
  return ended(fd, connect(fd, where(&first), first.length));
}
static long probe_mptcp(long n) {
  OPEN(fd, SOCK_STREAM, PROTOCOL_MPTCP);
  return ended(fd, connect(fd, where(&first), first.length));
}
// Connected to the first peer, disconnected, then to the second one.
static long probe_unspecified(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  if (connect(fd, where(&first), first.length) < 0) return ended(fd, -1);
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  connect(fd, &none, sizeof none);
  return ended(fd, connect(fd, where(&second), second.length));
}
static long message(int fd, int flags, int many, int named) {
  struct iovec data = {"x", 1};
  struct mmsghdr all = {.msg_hdr = {.msg_iov = &data, .msg_iovlen = 1}};
  if (named) {
    all.msg_hdr.msg_name = where(&first);
    all.msg_hdr.msg_namelen = first.length;
  }
  return many ? sendmmsg(fd, &all, 1, flags) : sendmsg(fd, &all.msg_hdr, flags);
}
static long probe_fastopen_sendto(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  return ended(fd, sendto(fd, "x", 1, MSG_FASTOPEN, where(&first), first.length));
}
static long probe_fastopen_sendmsg(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  return ended(fd, message(fd, MSG_FASTOPEN, 0, 1));
}
static long probe_fastopen_sendmmsg(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  return ended(fd, message(fd, MSG_FASTOPEN, 1, 1));
}
static long probe_fastopen_high_bits(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  return ended(fd, syscall(SYS_sendto, fd, "x", 1, MSG_FASTOPEN | 1L << 40, where(&first), first.length));
}
static long probe_fastopen_connect(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on);
  if (connect(fd, where(&first), first.length) < 0) return ended(fd, -1);
  return ended(fd, write(fd, "x", 1));
}

static long probe_udp_sendto(long n) {
  OPEN(fd, SOCK_DGRAM, 0);
  return ended(fd, sendto(fd, "x", 1, MSG_NOSIGNAL, where(&first), first.length));
}
static long probe_udp_sendmsg(long n) {
  OPEN(fd, SOCK_DGRAM, 0);
  return ended(fd, message(fd, MSG_NOSIGNAL, 0, 1));
}
static long probe_udp_sendmmsg(long n) {
  OPEN(fd, SOCK_DGRAM, 0);
  return ended(fd, message(fd, MSG_NOSIGNAL, 1, 1));
}
static long probe_udp_send(long n) {
  OPEN(fd, SOCK_DGRAM, 0);
  if (connect(fd, where(&first), first.length) < 0) return ended(fd, -1);
  return ended(fd, send(fd, "x", 1, MSG_NOSIGNAL));
}
static long probe_udp_write(long n) {
  signal(SIGPIPE, SIG_IGN);
  OPEN(fd, SOCK_DGRAM, 0);
  if (connect(fd, where(&first), first.length) < 0) return ended(fd, -1);
  return ended(fd, write(fd, "x", 1));
}
static long probe_udp_connected_sendmsg(long n) {
  OPEN(fd, SOCK_DGRAM, 0);
  if (connect(fd, where(&first), first.length) < 0) return ended(fd, -1);
  return ended(fd, message(fd, MSG_NOSIGNAL, 0, 0));
}
// Connected to the first peer and sent to the second one.
static long probe_udp_elsewhere(long n) {
  OPEN(fd, SOCK_DGRAM, 0);
  if (connect(fd, where(&first), first.length) < 0) return ended(fd, -1);
  first = second;
  return ended(fd, message(fd, MSG_NOSIGNAL, 0, 1));
}
static long probe_udp_unspecified(long n) {
  OPEN(fd, SOCK_DGRAM, 0);
  if (connect(fd, where(&first), first.length) < 0) return ended(fd, -1);
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  connect(fd, &none, sizeof none);
  return ended(fd, message(fd, MSG_NOSIGNAL, 0, 1));
}
static long probe_udp_splice(long n) {
  signal(SIGPIPE, SIG_IGN);
  OPEN(fd, SOCK_DGRAM, 0);
  if (connect(fd, where(&first), first.length) < 0) return ended(fd, -1);
  int ends[2];
  if (pipe(ends) < 0) return ended(fd, -1);
  write(ends[1], "x", 1);
  close(ends[1]);
  long result = splice(ends[0], NULL, fd, NULL, 1, 0);
  close(ends[0]);
  return ended(fd, result);
}
static long probe_udplite(long n) {
  OPEN(fd, SOCK_DGRAM, 136);
  return ended(fd, sendto(fd, "x", 1, MSG_NOSIGNAL, where(&first), first.length));
}

static long probe_uring(long n) {
  struct io_uring_params given = {0};
  int ring = (int)syscall(SYS_io_uring_setup, 4, &given);
  if (ring < 0) return errno;
  OPEN(fd, SOCK_STREAM, 0);
  char *sent = mmap(NULL, given.sq_off.array + given.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
  char *done = mmap(NULL, given.cq_off.cqes + given.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
  struct io_uring_sqe *entries = mmap(NULL, given.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
  if (sent == MAP_FAILED || done == MAP_FAILED || entries == MAP_FAILED) return errno;
  memset(entries, 0, sizeof *entries);
  entries->opcode = IORING_OP_CONNECT;
  entries->fd = fd;
  entries->addr = (unsigned long)where(&first);
  entries->off = first.length;
  ((unsigned *)(sent + given.sq_off.array))[0] = 0;
  __atomic_store_n((unsigned *)(sent + given.sq_off.tail), 1, __ATOMIC_RELEASE);
  if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) return ended(ring, -1);
  int result = ((struct io_uring_cqe *)(done + given.cq_off.cqes))->res;
  close(fd);
  close(ring);
  return result < 0 ? -result : 0;
}

#ifdef __x86_64__
static long probe_x32(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  return ended(fd, syscall(0x40000000 + SYS_connect, fd, where(&first), first.length));
}
// `connect` has number 362 in the table of 32-bit programs.
static long probe_int80(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  if (low == MAP_FAILED) return errno;
  memcpy(low, where(&first), first.length);
  long result = 362;
  __asm__ volatile("int $0x80" : "+a"(result) : "b"(fd), "c"(low), "d"(first.length) : "memory", "r8", "r9", "r10", "r11");
  close(fd);
  return (int)result < 0 ? -(int)result : 0;
}
#endif

static long probe_bind(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return ended(fd, bind(fd, where(&first), first.length));
}
static long probe_bind_shared(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  return ended(fd, bind(fd, where(&first), first.length));
}
static long probe_listen(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, where(&first), first.length) < 0) return ended(fd, -1);
  return ended(fd, listen(fd, 1));
}
static long probe_listen_unbound(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  return ended(fd, listen(fd, 1));
}
// A socket that was connected before it listens keeps its port.
static long probe_listen_after_connect(long n) {
  OPEN(fd, SOCK_STREAM, 0);
  if (connect(fd, where(&first), first.length) < 0) return ended(fd, -1);
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  connect(fd, &none, sizeof none);
  return ended(fd, listen(fd, 1));
}

// The text is a path, or after `@` an abstract name.
static socklen_t local(struct sockaddr_un *address, const char *text) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  strncpy(address->sun_path, text, sizeof address->sun_path - 1);
  if (*text == '@') address->sun_path[0] = 0;
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text) + (*text != '@'));
}
static long connect_local(int type, const char *text) {
  struct sockaddr_un address;
  socklen_t length = local(&address, text);
  int fd = socket(AF_UNIX, type, 0);
  if (fd < 0) return errno;
  return ended(fd, connect(fd, (void *)&address, length));
}
static const char *text_of_call;
static long probe_unix(long type) { return connect_local((int)type, text_of_call); }
// The directory of the path is entered first, the name alone is given.
static long probe_unix_relative(long type) {
  char copy[256];
  snprintf(copy, sizeof copy, "%s", text_of_call);
  char *name = strrchr(copy, '/');
  if (!name) return -1;
  *name++ = 0;
  int before = open(".", O_RDONLY | O_DIRECTORY);
  if (chdir(copy) < 0) return errno;
  long error = connect_local((int)type, name);
  if (before >= 0) fchdir(before);
  close(before);
  return error;
}
// All 108 bytes of the address are the path: there is no NUL.
static long probe_unix_full(long type) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(text_of_call);
  if (length > sizeof address.sun_path) return -1;
  memset(address.sun_path, '/', sizeof address.sun_path);
  memcpy(address.sun_path + sizeof address.sun_path - length, text_of_call, length);
  int fd = socket(AF_UNIX, (int)type, 0);
  if (fd < 0) return errno;
  return ended(fd, connect(fd, (void *)&address, sizeof address));
}
// Longer than any UNIX address.
static long probe_unix_longer(long type) {
  char bytes[128] = {0};
  struct sockaddr_un address;
  local(&address, text_of_call);
  memcpy(bytes, &address, sizeof address);
  int fd = socket(AF_UNIX, (int)type, 0);
  if (fd < 0) return errno;
  return ended(fd, connect(fd, (void *)bytes, sizeof address + 1));
}
// The socket's file is opened first, and reached through that.
static long probe_unix_opened(long type) {
  int file = open(text_of_call, O_PATH);
  if (file < 0) return errno;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  long error = connect_local((int)type, path);
  close(file);
  return error;
}
// Bound, and its own address read back; the file is removed again.
static long probe_unix_bind(long type) {
  struct sockaddr_un address, back;
  socklen_t length = local(&address, text_of_call), size = sizeof back;
  memset(&back, 0, sizeof back);
  int fd = socket(AF_UNIX, (int)type, 0);
  if (fd < 0) return errno;
  if (bind(fd, (void *)&address, length) < 0) return ended(fd, -1);
  if (*text_of_call != '@') unlink(text_of_call);
  if (listen(fd, 1) < 0) return ended(fd, -1);
  if (getsockname(fd, (void *)&back, &size) < 0) return ended(fd, -1);
  close(fd);
  return memcmp(back.sun_path, address.sun_path, strlen(text_of_call)) ? 2000 : 0;
}
// The kernel chooses a name.
static long probe_unix_unnamed(long type) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, (int)type, 0);
  if (fd < 0) return errno;
  return ended(fd, bind(fd, (void *)&address, sizeof(sa_family_t)));
}
static long probe_unix_sendto(long type) {
  struct sockaddr_un address;
  socklen_t length = local(&address, text_of_call);
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (fd < 0) return errno;
  return ended(fd, sendto(fd, "x", 1, 0, (void *)&address, length));
}
static long probe_unix_pair(long type) {
  struct sockaddr_un address;
  socklen_t length = local(&address, text_of_call);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0) return errno;
  close(ends[1]);
  return ended(ends[0], sendto(ends[0], "x", 1, 0, (void *)&address, length));
}

// A filter with a listener of its own would be asked instead of the one above.
static long probe_listener(long n) {
  struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {1, &allow};
  pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    _exit(fd < 0 ? errno : 0);
  }
  int status;
  if (waitpid(child, &status, 0) < 0) return errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// The process above the one that runs this.
static long probe_parent_signal(long number) { return kill(getppid(), (int)number) < 0 ? errno : 0; }
static long probe_parent_limit(long n) {
  struct rlimit limit;
  if (prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit) < 0) return errno;
  return prlimit(getppid(), RLIMIT_NOFILE, &limit, NULL) < 0 ? errno : 0;
}
static long probe_parent_memory(long n) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", getppid());
  int fd = open(path, O_RDWR);
  return fd < 0 ? errno : ended(fd, 0);
}
static long probe_parent_socket(long number) {
  int parent = (int)syscall(SYS_pidfd_open, getppid(), 0);
  if (parent < 0) return errno;
  int fd = (int)syscall(SYS_pidfd_getfd, parent, (int)number, 0);
  close(parent);
  return fd < 0 ? errno : ended(fd, 0);
}
static long probe_parent_priority(long n) {
  return setpriority(PRIO_PROCESS, (id_t)getppid(), getpriority(PRIO_PROCESS, (id_t)getppid())) < 0 ? errno : 0;
}

#define ENTRY(name) {#name, probe_##name}
static const struct { const char *name; long (*function)(long); } PROBES[] = {
  ENTRY(connect), ENTRY(connect_raw), ENTRY(connect_long), ENTRY(connect_nonblocking),
  ENTRY(connect_bound), ENTRY(mptcp), ENTRY(unspecified), ENTRY(fastopen_sendto),
  ENTRY(fastopen_sendmsg), ENTRY(fastopen_sendmmsg), ENTRY(fastopen_high_bits),
  ENTRY(fastopen_connect), ENTRY(udp_sendto), ENTRY(udp_sendmsg), ENTRY(udp_sendmmsg),
  ENTRY(udp_send), ENTRY(udp_write), ENTRY(udp_connected_sendmsg), ENTRY(udp_elsewhere),
  ENTRY(udp_unspecified), ENTRY(udp_splice), ENTRY(udplite), ENTRY(uring), ENTRY(bind),
  ENTRY(bind_shared), ENTRY(listen), ENTRY(listen_unbound), ENTRY(listen_after_connect),
  ENTRY(unix), ENTRY(unix_relative), ENTRY(unix_full), ENTRY(unix_longer),
  ENTRY(unix_opened), ENTRY(unix_bind), ENTRY(unix_unnamed), ENTRY(unix_sendto), ENTRY(unix_pair), ENTRY(listener),
  ENTRY(parent_signal), ENTRY(parent_limit), ENTRY(parent_memory), ENTRY(parent_socket),
  ENTRY(parent_priority),
#ifdef __x86_64__
  ENTRY(x32), ENTRY(int80),
#endif
};

long probe(const char *name, long number, const char *text) {
  text_of_call = text;
  parse(text);
  for (size_t i = 0; i < sizeof PROBES / sizeof *PROBES; i++)
    if (strcmp(PROBES[i].name, name) == 0) return PROBES[i].function(number);
  return -1;
}

int main(int count, char **items) {
  for (int i = 1; i < count; i++) {
    char name[64] = "";
    long number = 0;
    int used = 0;
    if (sscanf(items[i], "%63[^:]:%ld:%n", name, &number, &used) < 2 || !used) return 2;
    long error = probe(name, number, items[i] + used);
    printf("%s=%ld\n", items[i], error);
    fflush(stdout);
  }
  return 0;
}
