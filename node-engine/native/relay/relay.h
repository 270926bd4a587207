/* tsrelay: hands callers over IPv6 to published ports of the node that are reached over IPv4 only. One thread, one epoll. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* First field of what ends while events are handed out: it is freed after them, nothing of the same round may find it gone. */
struct grave {
  struct grave *next;
};

/* What is waited for, a field of a larger object. */
struct source {
  int fd; /* -1: closed */
  uint32_t events;
  bool watched;
  void (*ready)(struct source *, uint32_t events);
};

/* A port that is listened to. */
struct port {
  struct grave grave;
  struct source source;
  struct port *next;
  bool udp, wanted, paused;
  struct in6_addr address; /* of the node; :: is every one */
  in_port_t number;        /* in the order of the network, as the next */
  struct sockaddr_in target;
};

#define OWNER(pointer, type, field) ((type *)((char *)(pointer) - offsetof(type, field)))

/* loop.c */
void watch(struct source *, uint32_t events); /* 0: errors alone */
void unwatch(struct source *);
void source_close(struct source *);
void bury(struct grave *);
int64_t now_ms(void);
_Noreturn void serve(void);

/* budget.c: descriptors are counted, so that none is missing in the middle of a connection */
void budget_open(void);
bool budget_take(unsigned descriptors); /* false: there are no more; the daemon is told */
void budget_give(unsigned descriptors);
unsigned budget_whole(void);

/* ports.c */
extern struct port *ports;
extern unsigned paused_ports;
int port_want(bool udp, const struct in6_addr *, in_port_t, const struct sockaddr_in *target); /* 0 or an errno */
void ports_unwanted(void); /* all: those that are not wanted again are closed by `ports_close` */
void ports_close(void);
void ports_resume(void); /* those that had to wait for descriptors */
void port_pause(struct port *);
struct sockaddr_in source_address(const struct in6_addr *caller);

/* tcp.c */
extern size_t connections;
void tcp_accept(struct source *, uint32_t);

/* udp.c */
void udp_receive(struct source *, uint32_t);
void udp_forget(const struct port *);
int64_t udp_expire(int64_t now); /* when there is something to do again; -1: never */

/* control.c */
void control_open(int initial, int listener, unsigned user);
bool control_waits(void); /* a daemon is there that has not said yet which ports it wants */
bool control_held(void);  /* a daemon is there */
void control_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
