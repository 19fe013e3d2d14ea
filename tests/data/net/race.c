// SPDX-License-Identifier: MIT
// Threads that change what a call is about while it is made, and callers that are many, interrupted
// or killed: `race MODE COUNT GOOD-ADDRESS PORT EVIL-ADDRESS PORT`. Prints what came out, as
// `WORD NUMBER` lines.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in good, evil;
static atomic_int stop;
static int count;

static struct sockaddr_in peer(const char *host, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  inet_pton(AF_INET, host, &address.sin_addr);
  return address;
}
static int stream(int flags) { return socket(AF_INET, SOCK_STREAM | flags, 0); }
static int to(int fd, const struct sockaddr_in *address) {
  return connect(fd, (const struct sockaddr *)address, sizeof *address);
}
static void report(int done, int refused, int other) {
  printf("done %d\nrefused %d\nother %d\n", done, refused, other);
}

static struct sockaddr_in shared;
static void *flip(void *unused) {
  volatile in_addr_t *address = &shared.sin_addr.s_addr;
  volatile in_port_t *port = &shared.sin_port;
  while (!stop) {
    *address = evil.sin_addr.s_addr;
    *port = evil.sin_port;
    for (volatile int pause = 0; pause < 40; pause++) {}
    *address = good.sin_addr.s_addr;
    *port = good.sin_port;
    for (volatile int pause = 0; pause < 40; pause++) {}
  }
  return NULL;
}
// The address is rewritten while the call is made.
static void rewrite(void) {
  pthread_t thread;
  int done = 0, refused = 0, other = 0;
  shared = good;
  pthread_create(&thread, NULL, flip, NULL);
  for (int i = 0; i < count; i++) {
    int fd = stream(0);
    int result = to(fd, &shared);
    if (result == 0) done++;
    else if (errno == EACCES) refused++;
    else other++;
    close(fd);
  }
  stop = 1;
  pthread_join(thread, NULL);
  report(done, refused, other);
}

// The number of the socket names another one from time to time: one connected already, one that is
// no socket, one of datagrams.
static int number;
static void *swap(void *unused) {
  int file = open("/dev/null", O_RDWR), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
  while (!stop) {
    int fresh = stream(0), connected = stream(0);
    to(connected, &good);
    dup2(fresh, number);
    dup2(connected, number);
    dup2(file, number);
    dup2(datagrams, number);
    dup2(fresh, number);
    close(fresh);
    close(connected);
  }
  return NULL;
}
static void swapped(void) {
  pthread_t threads[2];
  int done = 0, refused = 0, other = 0;
  number = stream(0);
  shared = good;
  pthread_create(&threads[0], NULL, swap, NULL);
  pthread_create(&threads[1], NULL, flip, NULL);
  for (int i = 0; i < count; i++) {
    int result = to(number, &shared);
    if (result == 0) done++;
    else if (errno == EACCES) refused++;
    else other++;
  }
  stop = 1;
  pthread_join(threads[0], NULL);
  pthread_join(threads[1], NULL);
  report(done, refused, other);
}

// The socket is closed and its number taken by something else meanwhile.
static void *reuse(void *unused) {
  while (!stop) {
    close(number);
    int taken = open("/dev/null", O_RDONLY);
    if (taken != number && taken >= 0) close(taken);
    close(number);
    int again = stream(SOCK_NONBLOCK);
    if (again != number && again >= 0) close(again);
  }
  return NULL;
}
static void reused(void) {
  pthread_t thread;
  int done = 0, refused = 0, other = 0;
  number = stream(0);
  pthread_create(&thread, NULL, reuse, NULL);
  for (int i = 0; i < count; i++) {
    int result = to(number, i % 2 ? &evil : &good);
    if (result == 0 || errno == EINPROGRESS) done++;
    else if (errno == EACCES) refused++;
    else other++;
  }
  stop = 1;
  pthread_join(thread, NULL);
  report(done, refused, other);
}

// Callers killed in the middle of the call, or before it is answered.
static void killed(void) {
  int done = 0, other = 0;
  for (int i = 0; i < count; i++) {
    pid_t child = fork();
    if (child == 0) {
      for (;;) {
        int fd = stream(0);
        to(fd, i % 3 ? &good : &evil);
        close(fd);
      }
    }
    usleep((useconds_t)(i * 37 % 900));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  for (int i = 0; i < 100; i++) {
    int fd = stream(0);
    if (to(fd, &good) == 0) done++;
    else other++;
    close(fd);
  }
  report(done, 0, other);
}

static void raise_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}
static void nonblocking(void) {
  raise_limit();
  int done = 0, refused = 0, other = 0;
  struct pollfd *waits = calloc((size_t)count, sizeof *waits);
  for (int i = 0; i < count; i++) {
    int fd = stream(SOCK_NONBLOCK);
    waits[i] = (struct pollfd){fd, POLLOUT, 0};
    if (to(fd, &good) < 0 && errno != EINPROGRESS) {
      if (errno == EACCES) refused++;
      else other++;
      waits[i].fd = -1;
    }
  }
  for (int i = 0; i < count; i++) {
    if (waits[i].fd < 0) continue;
    int error = -1;
    socklen_t length = sizeof error;
    if (poll(&waits[i], 1, 30000) == 1) getsockopt(waits[i].fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error == 0) done++;
    else other++;
  }
  report(done, refused, other);
}

static atomic_int connected, denied, failed;
static void *one(void *unused) {
  int fd = stream(0);
  if (to(fd, &good) == 0) connected++;
  else if (errno == EACCES) denied++;
  else failed++;
  close(fd);
  return NULL;
}
static void threads(void) {
  raise_limit();
  pthread_t *all = calloc((size_t)count, sizeof *all);
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  int started = 0;
  while (started < count && pthread_create(&all[started], &small, one, NULL) == 0) started++;
  for (int i = 0; i < started; i++) pthread_join(all[i], NULL);
  report(connected, denied, failed + count - started);
}

static atomic_int ticks;
static void tick(int signal) { ticks++; }
// Calls restarted by the kernel after a handler: none may be answered twice.
static void storm(void) {
  struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval often = {{0, 50}, {0, 50}}, never = {0};
  setitimer(ITIMER_REAL, &often, NULL);
  int done = 0, refused = 0, other = 0;
  for (int i = 0; i < count; i++) {
    int fd = stream(0);
    if (to(fd, &good) == 0) done++;
    else if (errno == EACCES) refused++;
    else other++;
    close(fd);
  }
  setitimer(ITIMER_REAL, &never, NULL);
  report(done, refused, other);
  fprintf(stderr, "ticks %d\n", ticks);
}

// One after the other, each closed by the peer.
static void many(void) {
  int done = 0, refused = 0, other = 0;
  for (int i = 0; i < count; i++) {
    int fd = stream(0);
    // A reset leaves no port waiting.
    struct linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    if (to(fd, i % 4 == 3 ? &evil : &good) == 0) done++;
    else if (errno == EACCES) refused++;
    else other++;
    close(fd);
  }
  report(done, refused, other);
  // The caller looks at the supervisor meanwhile, until the input ends.
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {}
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  count = atoi(argv[2]);
  good = peer(argv[3], argv[4]);
  evil = peer(argv[5], argv[6]);
  struct { const char *name; void (*run)(void); } modes[] = {
    {"rewrite", rewrite}, {"swapped", swapped}, {"reused", reused}, {"killed", killed},
    {"nonblocking", nonblocking}, {"threads", threads}, {"storm", storm}, {"many", many},
  };
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
    if (strcmp(modes[i].name, argv[1]) == 0) return modes[i].run(), 0;
  return 2;
}
