// SPDX-License-Identifier: MIT
// A client that shares nothing with the C library's: system calls by number, DNS by hand as Go's own
// resolver does it (a connected datagram socket, write and read) or with addresses on each datagram,
// then a TCP connection: raw connected|addressed SERVER PORT NAME PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int question(unsigned char *query, const char *name) {
  static const unsigned char head[12] = {0x12, 0x34, 1, 0, 0, 1};
  memcpy(query, head, sizeof head);
  int at = sizeof head;
  while (*name) {
    int length = strcspn(name, ".");
    query[at++] = length;
    memcpy(query + at, name, length);
    at += length;
    name += length + (name[length] == '.');
  }
  memcpy(query + at, "\0\0\1\0\1", 5);
  return at + 5;
}

// The first IPv4 address of an answer; 0 when there is none.
static uint32_t address_of(const unsigned char *answer, int length, int asked) {
  int at = asked, records = answer[6] << 8 | answer[7];
  while (records-- > 0 && at < length) {
    while (at < length && answer[at] && answer[at] < 0xc0) at += answer[at] + 1;
    at += at < length && answer[at] >= 0xc0 ? 2 : 1;
    if (at + 10 > length) return 0;
    int kind = answer[at] << 8 | answer[at + 1], size = answer[at + 8] << 8 | answer[at + 9];
    at += 10;
    uint32_t found;
    if (kind == 1 && size == 4 && at + 4 <= length) return memcpy(&found, answer + at, 4), found;
    at += size;
  }
  return 0;
}

int main(int count, char **arguments) {
  if (count != 6) return 2;
  int addressed = !strcmp(arguments[1], "addressed");
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[3]))};
  inet_pton(AF_INET, arguments[2], &server.sin_addr);
  unsigned char query[512], answer[1232];
  int asked = question(query, arguments[4]);
  int udp = syscall(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  long sent, length = -1;
  if (addressed) {
    sent = syscall(SYS_sendto, udp, query, asked, 0, &server, sizeof server);
  } else {
    if (syscall(SYS_connect, udp, &server, sizeof server)) return printf("connect %d\n", errno), 1;
    sent = syscall(SYS_write, udp, query, asked);
  }
  if (sent != asked) return printf("send %d\n", errno), 1;
  struct pollfd wait = {.fd = udp, .events = POLLIN};
  struct timespec limit = {.tv_sec = 5};
  syscall(SYS_ppoll, &wait, 1, &limit, NULL, 0);
  struct sockaddr_in sender;
  unsigned size = sizeof sender;
  if (addressed) {
    length = syscall(SYS_recvfrom, udp, answer, sizeof answer, 0, &sender, &size);
  } else {
    length = syscall(SYS_read, udp, answer, sizeof answer);
  }
  if (length < 12) return printf("receive %d\n", errno), 1;
  if (answer[3] & 15) return printf("code %d\n", answer[3] & 15), 1;
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[5]))};
  if (!(peer.sin_addr.s_addr = address_of(answer, length, asked))) return printf("empty\n"), 1;
  int tcp = syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (syscall(SYS_connect, tcp, &peer, sizeof peer) && errno != EINPROGRESS) return printf("peer %d\n", errno), 1;
  struct pollfd joined = {.fd = tcp, .events = POLLOUT};
  syscall(SYS_ppoll, &joined, 1, &limit, NULL, 0);
  int error = 0;
  size = sizeof error;
  syscall(SYS_getsockopt, tcp, SOL_SOCKET, SO_ERROR, &error, &size);
  printf(error ? "peer %d\n" : "reached\n", error);
  return error != 0;
}
