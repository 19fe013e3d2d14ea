// SPDX-License-Identifier: MIT
// One bounded bomb per limit: each takes more and more of one thing until the kernel refuses or its
// own bound is reached, and says how far it came.
//
// Invariant: the bound is low enough for any machine, so that a missing limit harms nothing; and
// nothing is left when the program ends.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *what, long count, int error) {
  printf("%s %ld %s\n", what, count, error ? strerrorname_np(error) : "bound");
  fflush(stdout);
}

// Children wait for the end of a pipe, which comes with the end of this process however it ends.
static void forks(long bound) {
  int held[2];
  if (pipe(held)) exit(1);
  long count = 0;
  int error = 0;
  for (; count < bound; count++) {
    pid_t pid = fork();
    if (pid < 0) {
      error = errno;
      break;
    }
    if (pid == 0) {
      char byte;
      close(held[1]);
      _exit(read(held[0], &byte, 1) != 0);
    }
  }
  say("forks", count, error);
  close(held[1]);
  while (wait(NULL) > 0) {
  }
}

// Reserved and not touched: what is counted is what may be written.
static void memory(long bound) {
  long count = 0;
  for (; count < bound; count++)
    if (mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) break;
  say("memory", count, count < bound ? errno : 0);
}

// Written: what is counted is what is used.
static void pages(long bound, int flags) {
  long count = 0;
  for (; count < bound; count++) {
    char *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) break;
    memset(page, 1, 1 << 20);
  }
  say("pages", count, count < bound ? errno : 0);
}

static void descriptors(long bound) {
  long count = 0;
  for (; count < bound; count++)
    if (open("/dev/null", O_RDONLY) < 0) break;
  say("descriptors", count, count < bound ? errno : 0);
}

static void disk(long bound, const char *path) {
  static char block[1 << 16];
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0) exit(1);
  long count = 0;
  for (; count < bound; count++)
    if (write(file, block, sizeof block) != sizeof block) break;
  say("disk", count, count < bound ? errno : 0);
}

static double used(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static void spin(long milliseconds) {
  while (used() * 1000 < milliseconds) {
  }
}

static void output(long bound) {
  static char line[1024];
  memset(line, 'x', sizeof line);
  line[sizeof line - 1] = '\n';
  for (long count = 0; count < bound; count++)
    if (fwrite(line, 1, sizeof line, stdout) != sizeof line) exit(1);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const char *what = argv[1];
  long bound = atol(argv[2]);
  const char *text = argc > 3 ? argv[3] : "";
  if (!strcmp(what, "forks")) forks(bound);
  else if (!strcmp(what, "memory")) memory(bound);
  else if (!strcmp(what, "pages")) pages(bound, strcmp(text, "shared") ? MAP_PRIVATE : MAP_SHARED);
  else if (!strcmp(what, "descriptors")) descriptors(bound);
  else if (!strcmp(what, "disk")) disk(bound, text);
  else if (!strcmp(what, "output")) output(bound);
  else if (!strcmp(what, "spin")) {
    if (!strcmp(text, "deaf")) signal(SIGXCPU, SIG_IGN);
    spin(bound);
    say("spin", bound, 0);
  } else if (!strcmp(what, "spins")) {
    for (int child = 0; child < 2; child++)
      if (fork() == 0) {
        spin(bound);
        _exit(0);
      }
    int status, failed = 0;
    while (wait(&status) > 0) failed |= status;
    say("spins", bound, failed ? EINTR : 0);
  } else return 2;
  return 0;
}
