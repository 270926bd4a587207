#include "relay.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Callers that wait to be accepted; the kernel's own limit (net.core.somaxconn) is 4096. */
#define BACKLOG 4096

struct port *ports;
unsigned paused_ports;

static struct port *find(bool udp, const struct in6_addr *address, in_port_t number) {
  for (struct port *port = ports; port; port = port->next)
    if (port->udp == udp && port->number == number && !memcmp(&port->address, address, sizeof *address)) return port;
  return NULL;
}

static int open_socket(const struct port *port) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = port->address, .sin6_port = port->number};
  int on = 1;
  int fd = socket(AF_INET6, (port->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  /* IPv4 is the kernel's. Connections of an earlier time are no other users of the port; of UDP every socket is one. */
  bool good = !setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) &&
              !setsockopt(fd, port->udp ? IPPROTO_IPV6 : SOL_SOCKET, port->udp ? IPV6_RECVPKTINFO : SO_REUSEADDR, &on, sizeof on) &&
              !bind(fd, (struct sockaddr *)&address, sizeof address) && (port->udp || !listen(fd, BACKLOG));
  if (good) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

int port_want(bool udp, const struct in6_addr *address, in_port_t number, const struct sockaddr_in *target) {
  struct port *port = find(udp, address, number);
  if (!port) {
    port = calloc(1, sizeof *port);
    if (!port) return ENOMEM;
    *port = (struct port){.udp = udp, .address = *address, .number = number};
    port->source.ready = udp ? udp_receive : tcp_accept;
    bool counted = budget_take(1);
    if (!counted) errno = EMFILE;
    port->source.fd = counted ? open_socket(port) : -1;
    if (port->source.fd < 0) {
      int error = errno;
      if (counted) budget_give(1);
      free(port);
      return error;
    }
    port->next = ports;
    ports = port;
    watch(&port->source, EPOLLIN);
  }
  port->wanted = true;
  port->target = *target;
  return 0;
}

void ports_unwanted(void) {
  for (struct port *port = ports; port; port = port->next) port->wanted = false;
}

void ports_close(void) {
  for (struct port **at = &ports; *at;) {
    struct port *port = *at;
    if (port->wanted) {
      at = &port->next;
      continue;
    }
    *at = port->next;
    if (port->udp) udp_forget(port);
    if (port->paused) paused_ports--;
    source_close(&port->source);
    budget_give(1);
    bury(&port->grave);
  }
}

void port_pause(struct port *port) {
  port->paused = true;
  paused_ports++;
  unwatch(&port->source);
}

void ports_resume(void) {
  for (struct port *port = ports; port && paused_ports; port = port->next) {
    if (!port->paused) continue;
    port->paused = false;
    paused_ports--;
    watch(&port->source, EPOLLIN);
  }
}

/*
 * Of 127.64.0.0/10, the same for a caller each time: who is led by his address (x-affinity) is led to the same container again, callers apart from each
 * other, and none of them takes the ports that another needs.
 */
struct sockaddr_in source_address(const struct in6_addr *caller) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < sizeof caller->s6_addr; i++) hash = (hash ^ caller->s6_addr[i]) * 16777619u;
  hash ^= hash >> 16;
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f400000u | (hash & 0x3fffffu))};
}
