// SPDX-License-Identifier: MIT
// Both ends of the measurements of `scripts/benchmark-egress`, and a proxy to compare with.
//
//   traffic serve ADDRESS PORT
//   traffic collect ADDRESS PORT                     accepts now and then, and says nothing
//   traffic proxy ADDRESS PORT HOST:PORT...          an HTTP CONNECT proxy with an allow-list
//   traffic connect  ADDRESS PORT VIA COUNT blocking|polling    median and p10 in microseconds
//   traffic rate     ADDRESS PORT VIA CONNECTIONS SECONDS       requests per second
//   traffic web      ADDRESS PORT VIA CONNECTIONS SECONDS       the same, said in HTTP
//   traffic bulk     ADDRESS PORT VIA BYTES down|up             megabytes per second
//   traffic many     ADDRESS PORT VIA COUNT polling|threads     how many of so many at once arrived
//   traffic idle     ADDRESS PORT VIA COUNT                     opens, says "ready", waits for input to end
//
// VIA is the port of a proxy on 127.0.0.1, or 0. What is said looks like TLS to whoever checks it, but
// nothing is encrypted: a hello for `localhost` and its answer, then requests in records of application
// data. Bulk data is a pattern of prime length that the receiver compares.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST = 100, ANSWER = 200, HEADER = 5, PERIOD = 65521, CHUNK = 64 * 1024, FILES = 1 << 17 };

static char pattern[PERIOD + CHUNK];
static unsigned char hello[256], server_hello[HEADER + 44];
static size_t hello_length;
static const char web_request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: traffic\r\nAccept: */*\r\n\r\n";
static char web_answer[512];
static size_t web_length;

static void fail(const char *what) {
  perror(what);
  exit(1);
}
static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}
static unsigned char *put16(unsigned char *to, unsigned value) {
  to[0] = (unsigned char)(value >> 8);
  to[1] = (unsigned char)value;
  return to + 2;
}
static void prepare(void) {
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max < FILES ? files.rlim_max : FILES;
  setrlimit(RLIMIT_NOFILE, &files);
  uint32_t state = 1;
  for (size_t index = 0; index < sizeof pattern; index++) {
    state = state * 1664525 + 1013904223;
    pattern[index] = index < PERIOD ? (char)(state >> 24) : pattern[index - PERIOD];
  }
  // RFC 8446 4.1.2, with server_name (RFC 6066 3) and supported_versions.
  static const char name[] = "localhost";
  unsigned length = sizeof name - 1;
  unsigned char *at = hello + HEADER + 4;
  at = put16(at, 0x0303) + 32;
  *at++ = 0;
  at = put16(put16(at, 2), 0x1301);
  at = put16(at, 0x0100);
  at = put16(at, 9 + length + 7);
  at = put16(put16(put16(at, 0), 5 + length), 3 + length);
  *at++ = 0;
  at = put16(at, length);
  memcpy(at, name, length);
  at = put16(put16(at + length, 43), 3);
  *at++ = 2;
  at = put16(at, 0x0304);
  hello_length = (size_t)(at - hello);
  hello[0] = 22;
  put16(put16(hello + 1, 0x0301), (unsigned)hello_length - HEADER);
  hello[HEADER] = 1;
  put16(hello + HEADER + 2, (unsigned)hello_length - HEADER - 4);
  // A ServerHello without extensions.
  server_hello[0] = 22;
  put16(put16(server_hello + 1, 0x0303), sizeof server_hello - HEADER);
  server_hello[HEADER] = 2;
  put16(server_hello + HEADER + 2, sizeof server_hello - HEADER - 4);
  put16(server_hello + HEADER + 4, 0x0303);
  put16(server_hello + sizeof server_hello - 5, 0x1301);
  web_length = (size_t)sprintf(web_answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%0*d",
                               ANSWER, ANSWER, 0);
}
static struct sockaddr_in address_of(const char *host, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) exit(2);
  return address;
}
static int listen_at(const char *host, const char *port) {
  struct sockaddr_in address = address_of(host, port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (void *)&address, sizeof address) || listen(fd, 8192)) fail("listen");
  socklen_t length = sizeof address;
  getsockname(fd, (void *)&address, &length);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}
static void watch(int epoll, int operation, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll, operation, fd, &event)) fail("epoll_ctl");
}
static void quick(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}
static void drop(int fd) {
  // Without the state that a closed connection leaves behind for a minute.
  struct linger at_once = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
}

// ---- the server

struct peer {
  unsigned char head[4096];
  size_t have;
  uint64_t to_send, to_take, offset;
  int bad;
};
static struct peer *peers[FILES];

static int say(int fd, const void *bytes, size_t length) { return send(fd, bytes, length, 0) == (ssize_t)length; }

/* Answers complete messages; false when the connection is over. */
static int answer(int fd, struct peer *peer) {
  for (;;) {
    if (peer->have > 0 && peer->head[0] == 'G') {
      if (!memmem(peer->head, peer->have, "\r\n\r\n", 4)) return peer->have < sizeof peer->head;
      peer->have = 0;
      return say(fd, web_answer, web_length);
    }
    if (peer->have < HEADER) return 1;
    size_t length = HEADER + (size_t)(peer->head[3] << 8 | peer->head[4]);
    if (length > sizeof peer->head) return 0;
    if (peer->have < length) return 1;
    unsigned char *body = peer->head + HEADER;
    if (peer->head[0] == 22) {
      if (!say(fd, server_hello, sizeof server_hello)) return 0;
    } else if (body[0] == 'e') {
      if (!say(fd, pattern, ANSWER)) return 0;
    } else {
      uint64_t bytes;
      memcpy(&bytes, body + 1, sizeof bytes);
      peer->offset = 0;
      peer->bad = 0;
      *(body[0] == 'd' ? &peer->to_send : &peer->to_take) = bytes;
    }
    peer->have -= length;
    memmove(peer->head, peer->head + length, peer->have);
    if (peer->to_take) {
      // The first of them came with the request.
      size_t early = peer->have < peer->to_take ? peer->have : (size_t)peer->to_take;
      peer->bad = memcmp(peer->head, pattern, early);
      peer->offset = early;
      peer->to_take -= early;
      peer->have = 0;
    }
    if (peer->to_send || peer->to_take) return 1;
  }
}
static int serve_peer(int epoll, int fd, struct peer *peer) {
  static char buffer[CHUNK];
  if (!peer->to_send && !peer->to_take) {
    ssize_t got = recv(fd, peer->head + peer->have, sizeof peer->head - peer->have, 0);
    if (got < 0 && errno == EAGAIN) return 1;
    if (got <= 0) return 0;
    peer->have += (size_t)got;
    if (!answer(fd, peer)) return 0;
    if (peer->to_send) watch(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT);
  }
  if (peer->to_send) {
    size_t part = peer->to_send < CHUNK ? peer->to_send : CHUNK;
    ssize_t sent = send(fd, pattern + peer->offset % PERIOD, part, 0);
    if (sent < 0) return errno == EAGAIN;
    peer->offset += (size_t)sent;
    peer->to_send -= (size_t)sent;
    if (!peer->to_send) watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
  } else if (peer->to_take) {
    size_t part = peer->to_take < CHUNK ? peer->to_take : CHUNK;
    ssize_t got = recv(fd, buffer, part, 0);
    if (got < 0 && errno == EAGAIN) return 1;
    if (got <= 0) return 0;
    peer->bad |= memcmp(buffer, pattern + peer->offset % PERIOD, (size_t)got);
    peer->offset += (size_t)got;
    peer->to_take -= (size_t)got;
    if (!peer->to_take && !say(fd, peer->bad ? "n" : "y", 1)) return 0;
  }
  return 1;
}
static void serve(int listener) {
  int epoll = epoll_create1(0);
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
  struct epoll_event events[256];
  for (;;) {
    int count = epoll_wait(epoll, events, 256, -1);
    for (int index = 0; index < count; index++) {
      int fd = events[index].data.fd;
      if (fd == listener) {
        int one;
        while ((one = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          quick(one);
          peers[one] = calloc(1, sizeof **peers);
          watch(epoll, EPOLL_CTL_ADD, one, EPOLLIN);
        }
      } else if (!serve_peer(epoll, fd, peers[fd])) {
        free(peers[fd]);
        peers[fd] = NULL;
        close(fd);
      }
    }
  }
}

/* Nobody is woken by a connection: being woken would be measured with it, where it happens. */
static void collect(int listener) {
  static int open[FILES];
  for (int count = 0;; count = 0) {
    usleep(10 * 1000);
    while (count < FILES && (open[count] = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) count++;
    while (count > 0) close(open[--count]);
  }
}

// ---- the proxy: one thread, one buffer, what the other side does not take is kept

struct side {
  int other, ended, connecting;
  char *held;
  size_t length, sent;
};
static struct side *sides[FILES];

static void part(int fd) {
  int other = sides[fd]->other;
  for (int turn = 0; turn < 2 && fd >= 0; turn++, fd = other, other = -1) {
    free(sides[fd]->held);
    free(sides[fd]);
    sides[fd] = NULL;
    close(fd);
  }
}
static int begin_side(int epoll, int fd, uint32_t events) {
  sides[fd] = calloc(1, sizeof **sides);
  sides[fd]->other = -1;
  quick(fd);
  watch(epoll, EPOLL_CTL_ADD, fd, events);
  return fd;
}
/* Reads the head and starts towards a listed peer; false when the connection is over. */
static int ask(int epoll, int fd, char **allowed) {
  char head[4096], peer[256];
  ssize_t got = recv(fd, head, sizeof head - 1, 0);
  if (got < 0 && errno == EAGAIN) return 1;
  if (got <= 0) return 0;
  head[got] = 0;
  if (!strstr(head, "\r\n\r\n") || sscanf(head, "CONNECT %255s HTTP/1.", peer) != 1) return 0;
  while (*allowed && strcmp(*allowed, peer)) allowed++;
  char *port = strrchr(peer, ':');
  if (!*allowed || !port) return 0;
  *port = 0;
  struct sockaddr_in address = address_of(strcmp(peer, "localhost") ? peer : "127.0.0.1", port + 1);
  int upstream = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connect(upstream, (void *)&address, sizeof address) && errno != EINPROGRESS) fail("connect");
  begin_side(epoll, upstream, EPOLLOUT);
  sides[upstream]->connecting = 1;
  sides[upstream]->other = fd;
  sides[fd]->other = upstream;
  return 1;
}
static int carry(int epoll, int fd, uint32_t events) {
  static char buffer[CHUNK];
  static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";
  struct side *own = sides[fd];
  struct side *other = sides[own->other];
  if (own->connecting) {
    own->connecting = 0;
    watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
    return say(own->other, established, sizeof established - 1);
  }
  if (events & EPOLLOUT && own->length > own->sent) {
    ssize_t sent = send(fd, own->held + own->sent, own->length - own->sent, 0);
    if (sent < 0) return errno == EAGAIN;
    own->sent += (size_t)sent;
    if (own->sent == own->length) {
      free(own->held);
      own->held = NULL;
      own->length = own->sent = 0;
      watch(epoll, EPOLL_CTL_MOD, fd, own->ended ? 0 : EPOLLIN);
      watch(epoll, EPOLL_CTL_MOD, own->other, other->ended ? 0 : EPOLLIN);
    }
  }
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || other->connecting || other->length) return 1;
  ssize_t got = recv(fd, buffer, CHUNK, 0);
  if (got < 0) return errno == EAGAIN;
  if (got == 0) {
    own->ended = 1;
    watch(epoll, EPOLL_CTL_MOD, fd, own->length ? EPOLLOUT : 0);
    shutdown(own->other, SHUT_WR);
    return !other->ended;
  }
  ssize_t sent = send(own->other, buffer, (size_t)got, 0);
  if (sent < 0 && errno != EAGAIN) return 0;
  if (sent < 0) sent = 0;
  if (sent < got) {
    other->length = (size_t)(got - sent);
    other->held = malloc(other->length);
    memcpy(other->held, buffer + sent, other->length);
    watch(epoll, EPOLL_CTL_MOD, own->other, EPOLLOUT | (other->ended ? 0u : EPOLLIN));
    watch(epoll, EPOLL_CTL_MOD, fd, own->length ? EPOLLOUT : 0);
  }
  return 1;
}
static void proxy(int listener, char **allowed) {
  int epoll = epoll_create1(0);
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
  struct epoll_event events[256];
  for (;;) {
    int count = epoll_wait(epoll, events, 256, -1);
    for (int index = 0; index < count; index++) {
      int fd = events[index].data.fd, one;
      if (fd == listener) {
        while ((one = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) begin_side(epoll, one, EPOLLIN);
        continue;
      }
      // The other side of one that went in this round.
      if (!sides[fd]) continue;
      int goes_on = sides[fd]->other < 0 ? ask(epoll, fd, allowed) : carry(epoll, fd, events[index].events);
      if (!goes_on) part(fd);
    }
  }
}

// ---- the client

static struct sockaddr_in peer_address, proxy_address;
static char connect_request[128];

static void must_read(int fd, void *to, size_t length) {
  for (size_t have = 0; have < length;) {
    struct pollfd wait = {fd, POLLIN, 0};
    if (poll(&wait, 1, 20000) != 1) fail("poll");
    ssize_t got = recv(fd, (char *)to + have, length - have, 0);
    if (got == 0) errno = ECONNRESET;
    if (got <= 0 && errno != EAGAIN) fail("recv");
    if (got > 0) have += (size_t)got;
  }
}
static void must_say(int fd, const void *bytes, size_t length) {
  if (!say(fd, bytes, length)) fail("send");
}
static int error_of(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  return error;
}
static void establish(int fd, int polling) {
  struct sockaddr_in *to = proxy_address.sin_port ? &proxy_address : &peer_address;
  if (connect(fd, (void *)to, sizeof *to)) {
    if (!polling || errno != EINPROGRESS) fail("connect");
    struct pollfd wait = {fd, POLLOUT, 0};
    if (poll(&wait, 1, 20000) != 1) fail("poll");
    if ((errno = error_of(fd))) fail("connected");
  }
  if (!proxy_address.sin_port) return;
  char answer[1024];
  size_t have = 0;
  must_say(fd, connect_request, strlen(connect_request));
  do {
    must_read(fd, answer + have, 1);
    have++;
    // The rest of it has come with its first byte.
    ssize_t more = recv(fd, answer + have, sizeof answer - have - 1, MSG_DONTWAIT);
    if (more > 0) have += (size_t)more;
    answer[have] = 0;
  } while (!strstr(answer, "\r\n\r\n"));
  if (strncmp(answer + 9, "200", 3)) exit(3);
}
static void greet(int fd) {
  unsigned char answer[sizeof server_hello];
  must_say(fd, hello, hello_length);
  must_read(fd, answer, sizeof answer);
  if (memcmp(answer, server_hello, sizeof answer)) exit(4);
}
static int open_one(int polling) {
  int fd = socket(AF_INET, SOCK_STREAM | (polling ? SOCK_NONBLOCK : 0), 0);
  if (fd < 0) fail("socket");
  establish(fd, polling);
  quick(fd);
  return fd;
}
static size_t request(unsigned char *to, char what, uint64_t bytes) {
  memset(to, 0, HEADER + REQUEST);
  to[0] = 23;
  put16(put16(to + 1, 0x0303), REQUEST);
  to[HEADER] = (unsigned char)what;
  memcpy(to + HEADER + 1, &bytes, sizeof bytes);
  return HEADER + REQUEST;
}
static int by_size(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}
static void measure_connect(int count, int polling) {
  double *times = calloc((size_t)count, sizeof *times);
  int *open = calloc((size_t)count, sizeof *open);
  for (int index = -count / 10; index < count; index++) {
    int fd = socket(AF_INET, SOCK_STREAM | (polling ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0) fail("socket");
    double start = now();
    establish(fd, polling);
    double time = (now() - start) * 1e6;
    if (index < 0) {
      drop(fd);
      continue;
    }
    times[index] = time;
    open[index] = fd;
  }
  // Kept until here: their ends are no part of what is measured.
  for (int index = 0; index < count; index++) drop(open[index]);
  qsort(times, (size_t)count, sizeof *times, by_size);
  printf("%.2f %.2f\n", times[count / 2], times[count / 10]);
}
static void measure_rate(int connections, double seconds, int web) {
  int epoll = epoll_create1(0), *have = calloc(FILES, sizeof *have);
  unsigned char ask[HEADER + REQUEST];
  char buffer[4096];
  size_t length = request(ask, 'e', 0);
  const void *message = web ? (const void *)web_request : ask;
  if (web) length = sizeof web_request - 1;
  int expected = web ? (int)web_length : ANSWER;
  int *open = calloc((size_t)connections, sizeof *open);
  for (int index = 0; index < connections; index++) {
    open[index] = open_one(1);
    if (!web) greet(open[index]);
    watch(epoll, EPOLL_CTL_ADD, open[index], EPOLLIN);
  }
  for (int index = 0; index < connections; index++) must_say(open[index], message, length);
  struct epoll_event events[256];
  double start = now(), warm = start + seconds / 5, end = start + seconds;
  long done = 0;
  int counting = 0;
  for (double time = start; time < end; time = now()) {
    if (!counting && time > warm) {
      counting = 1;
      start = time;
      done = 0;
    }
    int count = epoll_wait(epoll, events, 256, 20000);
    if (count <= 0) fail("epoll_wait");
    for (int index = 0; index < count; index++) {
      int fd = events[index].data.fd;
      ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0) fail("recv");
      have[fd] += (int)got;
      if (have[fd] > expected) exit(5);
      if (have[fd] == expected) {
        have[fd] = 0;
        done++;
        must_say(fd, message, length);
      }
    }
  }
  printf("%.0f\n", (double)done / (now() - start));
}
static void measure_bulk(uint64_t bytes, int up) {
  static char buffer[CHUNK];
  unsigned char ask[HEADER + REQUEST];
  int fd = open_one(0), bad = 0;
  greet(fd);
  size_t length = request(ask, up ? 'u' : 'd', bytes);
  double start = now();
  must_say(fd, ask, length);
  for (uint64_t offset = 0; offset < bytes;) {
    size_t part = bytes - offset < CHUNK ? (size_t)(bytes - offset) : CHUNK;
    ssize_t moved = up ? send(fd, pattern + offset % PERIOD, part, 0) : recv(fd, buffer, part, 0);
    if (moved <= 0) fail("bulk");
    if (!up) bad |= memcmp(buffer, pattern + offset % PERIOD, (size_t)moved);
    offset += (uint64_t)moved;
  }
  if (up) {
    char verdict;
    must_read(fd, &verdict, 1);
    bad = verdict != 'y';
  }
  if (bad) {
    puts("bytes differ");
    exit(6);
  }
  printf("%.1f\n", (double)bytes / (now() - start) / 1e6);
}
static int arrived;
static void *one_thread(void *unused) {
  (void)unused;
  int fd = open_one(0);
  greet(fd);
  __atomic_add_fetch(&arrived, 1, __ATOMIC_RELAXED);
  return (void *)(intptr_t)fd;
}
static void measure_many(int count, int threads) {
  double start = now();
  if (threads) {
    pthread_t *all = calloc((size_t)count, sizeof *all);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    for (int index = 0; index < count; index++)
      if ((errno = pthread_create(&all[index], &attributes, one_thread, NULL))) fail("thread");
    for (int index = 0; index < count; index++) pthread_join(all[index], NULL);
  } else {
    int epoll = epoll_create1(0), left = count;
    char *greeted = calloc(FILES, 1);
    for (int index = 0; index < count; index++) {
      int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      if (connect(fd, (void *)&peer_address, sizeof peer_address) && errno != EINPROGRESS) fail("connect");
      watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
    }
    struct epoll_event events[256];
    while (left > 0) {
      int found = epoll_wait(epoll, events, 256, 20000);
      if (found <= 0) break;
      for (int index = 0; index < found; index++) {
        int fd = events[index].data.fd;
        unsigned char answer[sizeof server_hello];
        if (!greeted[fd]) {
          greeted[fd] = 1;
          if ((errno = error_of(fd))) {
            perror("connected");
            left--;
            close(fd);
            continue;
          }
          must_say(fd, hello, hello_length);
          watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
        } else {
          if (recv(fd, answer, sizeof answer, 0) == sizeof answer) arrived++;
          watch(epoll, EPOLL_CTL_DEL, fd, 0);
          left--;
        }
      }
    }
  }
  printf("%d %.1f\n", arrived, (now() - start) * 1e3);
}
static void stay_idle(int count) {
  for (int index = 0; index < count; index++) {
    int fd = open_one(1);
    greet(fd);
  }
  puts("ready");
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) {
  }
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  prepare();
  const char *what = arguments[1];
  if (!strcmp(what, "serve")) serve(listen_at(arguments[2], arguments[3]));
  if (!strcmp(what, "collect")) collect(listen_at(arguments[2], arguments[3]));
  if (!strcmp(what, "proxy")) proxy(listen_at(arguments[2], arguments[3]), arguments + 4);
  if (count < 6) return 2;
  peer_address = address_of(arguments[2], arguments[3]);
  proxy_address = address_of("127.0.0.1", arguments[4]);
  snprintf(connect_request, sizeof connect_request, "CONNECT localhost:%s HTTP/1.1\r\nHost: localhost:%s\r\n\r\n",
           arguments[3], arguments[3]);
  const char *last = arguments[count - 1];
  int number = atoi(arguments[5]);
  if (!strcmp(what, "connect")) measure_connect(number, !strcmp(last, "polling"));
  if (!strcmp(what, "rate")) measure_rate(number, atof(last), 0);
  if (!strcmp(what, "web")) measure_rate(number, atof(last), 1);
  if (!strcmp(what, "bulk")) measure_bulk(strtoull(arguments[5], NULL, 10), !strcmp(last, "up"));
  if (!strcmp(what, "many")) measure_many(number, !strcmp(last, "threads"));
  if (!strcmp(what, "idle")) stay_idle(number);
  return 0;
}
