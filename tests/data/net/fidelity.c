// SPDX-License-Identifier: MIT
// What a program sees of its own connections: every result, errno and readiness, one line each;
// `fidelity ADDRESS PORT CLOSED-ADDRESS CLOSED-PORT FULL-ADDRESS FULL-PORT [V6-PORT]`. Inside and
// outside of a sandbox the output is the same.
//
// The first peer accepts, nobody listens at the second, the queue of the third is full.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in open_peer, closed_peer, full_peer;
static int six_port;

static void say(const char *what, long result) {
  printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "-");
}
static struct sockaddr_in peer(const char *host, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  inet_pton(AF_INET, host, &address.sin_addr);
  return address;
}
static struct sockaddr_in6 mapped(struct sockaddr_in four) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = four.sin_port};
  address.sin6_addr.s6_addr[10] = address.sin6_addr.s6_addr[11] = 0xff;
  memcpy(&address.sin6_addr.s6_addr[12], &four.sin_addr, 4);
  return address;
}
static int stream(int flags) { return socket(AF_INET, SOCK_STREAM | flags, 0); }
static int to(int fd, struct sockaddr_in *address) { return connect(fd, (void *)address, sizeof *address); }
static void say_error(const char *what, int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  printf("%s: SO_ERROR %s\n", what, error ? strerrorname_np(error) : "0");
}
static void say_ready(const char *what, int fd) {
  struct pollfd wait = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
  int result = poll(&wait, 1, 10000);
  // The peer may close at any time: only being writable and errors are the connection's.
  printf("%s: poll %d%s%s%s\n", what, result, wait.revents & POLLOUT ? " out" : "",
         wait.revents & POLLERR ? " err" : "", wait.revents & POLLNVAL ? " nval" : "");
}
static void say_flags(const char *what, int fd) {
  printf("%s: nonblocking %d\n", what, (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
}
static void say_names(const char *what, int fd) {
  struct sockaddr_in own = {0}, other = {0};
  socklen_t length = sizeof own;
  say("getsockname", getsockname(fd, (void *)&own, &length));
  printf("%s: own family %d port %s length %u\n", what, own.sin_family, own.sin_port ? "some" : "none", length);
  length = sizeof other;
  say("getpeername", getpeername(fd, (void *)&other, &length));
  printf("%s: peer %s\n", what, memcmp(&other, &open_peer, 8) == 0 ? "as asked" : "another");
}

static void blocking(void) {
  int fd = stream(0);
  say("blocking", to(fd, &open_peer));
  say_flags("blocking", fd);
  say_names("blocking", fd);
  say("again", to(fd, &open_peer));
  say_error("again", fd);
  say_ready("blocking", fd);
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  say("disconnect", connect(fd, &none, sizeof none));
  say("reconnect", to(fd, &open_peer));
  say_names("reconnect", fd);
  say("write", write(fd, "x", 1));
  close(fd);
  fd = stream(0);
  say("refused", to(fd, &closed_peer));
  say_error("refused", fd);
  say("after refused", to(fd, &open_peer));
  close(fd);
}
static void nonblocking(void) {
  int fd = stream(SOCK_NONBLOCK);
  say("nonblocking", to(fd, &open_peer));
  say_ready("nonblocking", fd);
  say_error("nonblocking", fd);
  say_flags("nonblocking", fd);
  say_names("nonblocking", fd);
  say("second call", to(fd, &open_peer));
  say("third call", to(fd, &open_peer));
  close(fd);
  fd = stream(SOCK_NONBLOCK);
  say("nonblocking refused", to(fd, &closed_peer));
  say_ready("nonblocking refused", fd);
  say_error("nonblocking refused", fd);
  say_error("nonblocking refused", fd);
  close(fd);
  fd = stream(SOCK_NONBLOCK);
  to(fd, &closed_peer);
  say_ready("refused by call", fd);
  say("refused by call", to(fd, &closed_peer));
  close(fd);
  fd = stream(SOCK_NONBLOCK);
  say("full", to(fd, &full_peer));
  say("full again", to(fd, &full_peer));
  struct pollfd wait = {fd, POLLOUT, 0};
  printf("full: poll %d\n", poll(&wait, 1, 50));
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  say("full disconnect", connect(fd, &none, sizeof none));
  say("full elsewhere", to(fd, &open_peer));
  close(fd);
}
static void deadlines(void) {
  int fd = stream(0);
  struct timeval short_time = {0, 100000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &short_time, sizeof short_time);
  say("SO_SNDTIMEO", to(fd, &full_peer));
  say("after SO_SNDTIMEO", to(fd, &full_peer));
  close(fd);
}
static void nothing(int signal) {}
static void interrupted(void) {
  struct sigaction action = {.sa_handler = nothing};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval once = {{0, 0}, {0, 100000}};
  int fd = stream(0);
  setitimer(ITIMER_REAL, &once, NULL);
  say("interrupted", to(fd, &full_peer));
  fcntl(fd, F_SETFL, O_NONBLOCK);
  say("after interruption", to(fd, &full_peer));
  close(fd);
}
static void mistakes(void) {
  int fd = stream(0), pipes[2], local[2];
  say("bad descriptor", to(-1, &open_peer));
  say("closed descriptor", to(1000, &open_peer));
  pipe(pipes);
  say("no socket", to(pipes[0], &open_peer));
  say("bad pointer", syscall(SYS_connect, fd, 8, 16));
  say("null pointer", syscall(SYS_connect, fd, 0, 16));
  say("no length", connect(fd, (void *)&open_peer, 0));
  say("short", connect(fd, (void *)&open_peer, 2));
  say("seven bytes", connect(fd, (void *)&open_peer, 7));
  say("too long", connect(fd, (void *)&open_peer, 4096));
  say("negative length", syscall(SYS_connect, fd, &open_peer, -1));
  struct sockaddr_in odd = open_peer;
  odd.sin_family = 77;
  say("unknown family", to(fd, &odd));
  struct sockaddr_in6 six = mapped(open_peer);
  say("other family", connect(fd, (void *)&six, sizeof six));
  say("still usable", to(fd, &open_peer));
  close(fd);
  fd = open("/dev/null", O_PATH);
  say("path descriptor", to(fd, &open_peer));
  close(fd);
  socketpair(AF_UNIX, SOCK_STREAM, 0, local);
  say("connected pair", to(local[0], &open_peer));
  int listener = stream(0);
  say("unbound listener name", connect(listener, (void *)&open_peer, sizeof open_peer));
  say("listen on it", listen(listener, 1));
}
static void six(void) {
  int fd = socket(AF_INET6, SOCK_STREAM, 0);
  if (fd < 0) return;
  struct sockaddr_in6 address = mapped(open_peer);
  say("mapped", connect(fd, (void *)&address, sizeof address));
  struct sockaddr_in6 found = {0};
  socklen_t length = sizeof found;
  getpeername(fd, (void *)&found, &length);
  printf("mapped: peer %s length %u\n", memcmp(&found.sin6_addr, &address.sin6_addr, 16) == 0 ? "as asked" : "another", length);
  close(fd);
  fd = socket(AF_INET6, SOCK_STREAM, 0);
  int on = 1;
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  say("V6ONLY mapped", connect(fd, (void *)&address, sizeof address));
  say("short for IPv6", connect(fd, (void *)&address, 20));
  close(fd);
  fd = socket(AF_INET6, SOCK_STREAM, 0);
  say("IPv4 address on IPv6 socket", connect(fd, (void *)&open_peer, sizeof open_peer));
  close(fd);
  if (!six_port) return;
  fd = socket(AF_INET6, SOCK_STREAM, 0);
  struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)six_port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  say("IPv6", connect(fd, (void *)&loopback, sizeof loopback));
  say("IPv6 without scope", connect(fd, (void *)&loopback, 24));
  close(fd);
}
// Registered before the connection is made, edges only.
static void edges(void) {
  int queue = epoll_create1(0);
  for (int refused = 0; refused < 2; refused++) {
    int fd = stream(SOCK_NONBLOCK);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.fd = fd}, found = {0};
    epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event);
    // An unconnected socket is hung up and writable: that edge comes first.
    printf("edge before: %d", epoll_wait(queue, &found, 1, 1000));
    printf("%s%s\n", found.events & EPOLLOUT ? " out" : "", found.events & EPOLLHUP ? " hup" : "");
    say(refused ? "edge refused" : "edge", to(fd, refused ? &closed_peer : &open_peer));
    memset(&found, 0, sizeof found);
    printf("%s after: %d", refused ? "edge refused" : "edge", epoll_wait(queue, &found, 1, 10000));
    printf("%s%s\n", found.events & EPOLLOUT ? " out" : "", found.events & EPOLLERR ? " err" : "");
    say_error(refused ? "edge refused" : "edge", fd);
    close(fd);
  }
  close(queue);
}
static void options(void) {
  int fd = stream(0), on = 1, value = 0;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  struct sockaddr_in own = {.sin_family = AF_INET};
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int second = dup(fd);
  say("by a duplicate", to(second, &open_peer));
  say("of what is connected", to(fd, &open_peer));
  socklen_t length = sizeof value;
  getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length);
  printf("nodelay %d\n", value != 0);
  getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length);
  printf("keepalive %d\n", value != 0);
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length);
  printf("type %d\n", value);
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &length);
  printf("domain %d\n", value);
  getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &length);
  printf("protocol %d\n", value);
  printf("close-on-exec %d %d\n", fcntl(fd, F_GETFD), fcntl(second, F_GETFD));
  int closing = stream(SOCK_CLOEXEC | SOCK_NONBLOCK);
  printf("flags %d %d\n", fcntl(closing, F_GETFD), (fcntl(closing, F_GETFL) & O_NONBLOCK) != 0);
  say("unknown type", socket(AF_INET, 77, 0));
  say("unknown protocol", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
}

int main(int argc, char **argv) {
  if (argc < 7) return 2;
  signal(SIGPIPE, SIG_IGN);
  open_peer = peer(argv[1], argv[2]);
  closed_peer = peer(argv[3], argv[4]);
  full_peer = peer(argv[5], argv[6]);
  six_port = argc > 7 ? atoi(argv[7]) : 0;
  blocking();
  nonblocking();
  deadlines();
  interrupted();
  mistakes();
  six();
  edges();
  options();
  return 0;
}
