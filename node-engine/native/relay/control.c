/*
 * What the daemon says and hears, in lines. It says the ports it wants, all of them, each time; what is wanted already goes on untouched:
 *   port tcp|udp ADDRESS NUMBER TARGET NUMBER
 *   set
 * It hears, when it comes, the version and what is listened to; and the ports of a set that could not be had, each with its errno:
 *   relay 1
 *   has tcp|udp ADDRESS NUMBER
 *   ready
 *   failed tcp|udp ADDRESS NUMBER ERRNO
 *   done
 *   full DESCRIPTORS CONNECTIONS      callers wait for others to end
 */
#include "relay.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define VERSION 1
#define LINE_BYTES 256

static struct source listener = {.fd = -1}, daemon_end = {.fd = -1};
static unsigned owner;
static char line[LINE_BYTES];
static size_t line_length;
static char *said;
static size_t said_length, said_room;
/* Nothing was wanted of this one yet. */
static bool waits, begun;

bool control_held(void) { return daemon_end.fd >= 0; }

bool control_waits(void) { return control_held() && waits; }

static void hang_up(void) {
  source_close(&daemon_end);
  said_length = line_length = 0;
  begun = false;
}

static void flush(void) {
  while (said_length) {
    ssize_t sent = send(daemon_end.fd, said, said_length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) {
      hang_up();
      return;
    }
    if (sent < 0) break;
    said_length -= (size_t)sent;
    memmove(said, said + sent, said_length);
  }
  watch(&daemon_end, EPOLLIN | (said_length ? EPOLLOUT : 0));
}

void control_tell(const char *format, ...) {
  char text[LINE_BYTES];
  if (!control_held()) return;
  va_list values;
  va_start(values, format);
  size_t length = (size_t)vsnprintf(text, sizeof text, format, values);
  va_end(values);
  if (said_room - said_length < length) {
    char *grown = realloc(said, said_room + 16384);
    if (!grown) {
      hang_up();
      return;
    }
    said = grown;
    said_room += 16384;
  }
  memcpy(said + said_length, text, length);
  said_length += length;
  flush();
}

/* Words that are not understood end the conversation: the daemon is another's, or of another version. */
static bool take_line(char *text) {
  char protocol[8], address[64], target[64];
  unsigned number, target_number;
  if (!strcmp(text, "set")) {
    if (!begun) ports_unwanted();
    begun = false;
    waits = false;
    ports_close();
    control_tell("done\n");
    return true;
  }
  if (sscanf(text, "port %7s %63s %u %63s %u", protocol, address, &number, target, &target_number) != 5) return false;
  struct in6_addr own;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)target_number)};
  bool udp = !strcmp(protocol, "udp");
  if ((!udp && strcmp(protocol, "tcp")) || number > 65535 || target_number > 65535 || inet_pton(AF_INET6, address, &own) != 1 ||
      inet_pton(AF_INET, target, &to.sin_addr) != 1)
    return false;
  if (!begun) ports_unwanted();
  begun = true;
  int error = port_want(udp, &own, htons((uint16_t)number), &to);
  if (error) control_tell("failed %s %s %u %d\n", protocol, address, number, error);
  return true;
}

static void hear(struct source *source, uint32_t events) {
  char text[4096];
  if (events & EPOLLOUT) flush();
  if (!control_held() || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
  ssize_t got = recv(source->fd, text, sizeof text, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    hang_up();
    return;
  }
  for (ssize_t i = 0; i < got; i++) {
    if (text[i] != '\n') {
      if (line_length == sizeof line - 1) {
        hang_up();
        return;
      }
      line[line_length++] = text[i];
      continue;
    }
    line[line_length] = 0;
    line_length = 0;
    if (!take_line(line)) hang_up();
    if (!control_held()) return;
  }
}

/* The one that came last is the daemon: another may be about to end. */
static void greet(int fd) {
  hang_up();
  daemon_end = (struct source){.fd = fd, .ready = hear};
  waits = true;
  control_tell("relay %d\n", VERSION);
  for (struct port *port = ports; port; port = port->next) {
    char address[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &port->address, address, sizeof address);
    control_tell("has %s %s %u\n", port->udp ? "udp" : "tcp", address, ntohs(port->number));
  }
  control_tell("ready\n");
}

static void meet(struct source *source, uint32_t events) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) || peer.uid != owner) close(fd);
  else greet(fd);
}

void control_open(int initial, int listening, unsigned user) {
  owner = user;
  listener = (struct source){.fd = listening, .ready = meet};
  watch(&listener, EPOLLIN);
  greet(initial);
}
