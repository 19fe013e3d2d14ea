// SPDX-License-Identifier: MIT
// Threads that connect without waiting while another one makes their sockets wait.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT 8

static volatile int sockets[COUNT];
static struct sockaddr_in peer;

static void *turn(void *unused) {
  (void)unused;
  for (;;)
    for (int i = 0; i < COUNT; i++)
      for (int on = 0; on < 2; on++)
        if (sockets[i] > 0)
          ioctl(sockets[i], FIONBIO, &on);
}

static void *attempt(void *place) {
  for (;;) {
    volatile int *own = place;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    *own = fd;
    connect(fd, (struct sockaddr *)&peer, sizeof peer);
    *own = 0;
    close(fd);
  }
}

int main(int count, char **words) {
  pthread_t thread;
  if (count != 3)
    return 2;
  peer.sin_family = AF_INET;
  inet_pton(AF_INET, words[1], &peer.sin_addr);
  peer.sin_port = htons(atoi(words[2]));
  pthread_create(&thread, 0, turn, 0);
  for (int i = 0; i < COUNT; i++)
    pthread_create(&thread, 0, attempt, (void *)&sockets[i]);
  pause();
}
