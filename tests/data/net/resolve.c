// SPDX-License-Identifier: MIT
// Looks every argument up with the C library it is linked with: `NAME ADDRESS…` or `NAME error`.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int count, char **names) {
  for (int i = 1; i < count; i++) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(names[i], "80", &hints, &found);
    printf("%s", names[i]);
    if (error) printf(" error %s", error == EAI_NONAME ? "name" : error == EAI_AGAIN ? "again" : "other");
    for (struct addrinfo *entry = found; entry; entry = entry->ai_next) {
      char text[INET6_ADDRSTRLEN] = "";
      const void *address = entry->ai_family == AF_INET
          ? (void *)&((struct sockaddr_in *)entry->ai_addr)->sin_addr
          : (void *)&((struct sockaddr_in6 *)entry->ai_addr)->sin6_addr;
      printf(" %s", inet_ntop(entry->ai_family, address, text, sizeof text));
    }
    printf("\n");
    if (found) freeaddrinfo(found);
  }
}
