// SPDX-License-Identifier: MIT
// Threads that change a path while a call that writes is about it: `writes CALL COUNT GOOD EVIL`. Prints
// how the calls ended, as `WORD NUMBER` lines; what they did is seen in the directory.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *good, *evil;
static char path[256];
static atomic_int stop;

// Both names have the same length, so that every mixture of them is a name, too.
static void *flip(void *unused) {
  size_t length = strlen(good);
  volatile char *shared = path;
  unsigned turn = 0;
  while (!stop) {
    for (size_t at = 0; at < length; at++) shared[at] = evil[at];
    for (volatile unsigned pause = 0; pause < (turn * 7) % 400; pause++) {}
    for (size_t at = 0; at < length; at++) shared[at] = good[at];
    for (volatile unsigned pause = 0; pause < (turn * 13) % 400; pause++) {}
    turn++;
  }
  return NULL;
}

static int attempt(const char *call) {
  int file;
  if (!strcmp(call, "open")) {
    file = open(path, O_WRONLY | O_CREAT, 0600);
    if (file < 0) return -1;
    int written = write(file, "evil", 4) == 4;
    close(file);
    return written ? 0 : -1;
  }
  if (!strcmp(call, "truncate")) return truncate(path, 4);
  if (!strcmp(call, "mkdir")) return mkdir(path, 0700);
  if (!strcmp(call, "symlink")) return symlink("elsewhere", path);
  if (!strcmp(call, "link")) return link("source", path);
  if (!strcmp(call, "unlink")) return unlink(path);
  if (!strcmp(call, "rename")) {
    file = open("temporary", O_WRONLY | O_CREAT, 0600);
    if (file < 0 || write(file, "evil", 4) != 4) return -1;
    close(file);
    return rename("temporary", path);
  }
  // The name that is moved is the one that changes.
  if (!strcmp(call, "take")) return rename(path, "taken");
  exit(2);
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  const char *call = argv[1];
  long count = atol(argv[2]), done = 0, refused = 0, other = 0;
  good = argv[3];
  evil = argv[4];
  if (strlen(good) != strlen(evil)) return 2;
  strcpy(path, good);
  close(open("source", O_WRONLY | O_CREAT, 0600));
  pthread_t thread;
  pthread_create(&thread, NULL, flip, NULL);
  for (long i = 0; i < count; i++) {
    int result = attempt(call);
    if (result == 0) done++;
    else if (errno == EACCES) refused++;
    else other++;
    // Room for the next one: directories and links are made once.
    if (!strcmp(call, "mkdir")) rmdir(good);
    else if (strcmp(call, "open") && strcmp(call, "truncate") && strcmp(call, "rename")) unlink(good);
    if (!strcmp(call, "unlink") || !strcmp(call, "take") || !strcmp(call, "truncate"))
      close(open(good, O_WRONLY | O_CREAT, 0600));
  }
  stop = 1;
  pthread_join(thread, NULL);
  printf("done %ld\nrefused %ld\nother %ld\n", done, refused, other);
  return 0;
}
