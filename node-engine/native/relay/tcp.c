#include "relay.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Two sockets, and a pipe for each direction while something is in it: all of them are counted from the beginning. */
#define DESCRIPTORS 6
/* Handed on at once, before others have their turn. */
#define ROUNDS 8
#define PIPE_BYTES (256 * 1024)
#define SPARE_PIPES 16
/* A caller that is gone without a word is found out: seconds of silence, seconds between questions, and how many. */
#define IDLE_S 300
#define ASK_S 30
#define QUESTIONS 5

struct side {
  struct source source;
  struct connection *connection;
};

/* What goes from one side to the other. */
struct way {
  int pipe[2];    /* -1: none is needed */
  size_t pending; /* bytes in it */
  bool ended;     /* no more comes */
  bool closed;    /* and the other side has been told */
};

struct connection {
  struct grave grave;
  struct side caller, server;
  struct way to_server, to_caller;
  bool connected;
};

size_t connections;

static int spare[SPARE_PIPES][2];
static unsigned spares;

static bool pipe_take(struct way *way) {
  if (spares) {
    spares--;
    way->pipe[0] = spare[spares][0];
    way->pipe[1] = spare[spares][1];
    return true;
  }
  if (pipe2(way->pipe, O_CLOEXEC | O_NONBLOCK)) {
    way->pipe[0] = way->pipe[1] = -1;
    return false;
  }
  /* Where the user has too many pages in pipes it stays as it is. */
  fcntl(way->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
  return true;
}

static void pipe_give(struct way *way) {
  if (way->pipe[0] < 0) return;
  if (!way->pending && spares < SPARE_PIPES) {
    spare[spares][0] = way->pipe[0];
    spare[spares++][1] = way->pipe[1];
  } else {
    close(way->pipe[0]);
    close(way->pipe[1]);
  }
  way->pipe[0] = way->pipe[1] = -1;
}

/* abrupt: both ends hear that it was torn, as the one that tore it said or the kernel */
static void end(struct connection *connection, bool abrupt) {
  struct linger reset = {.l_onoff = 1, .l_linger = 0};
  struct side *sides[] = {&connection->caller, &connection->server};
  for (int i = 0; i < 2; i++) {
    int fd = sides[i]->source.fd;
    if (abrupt && fd >= 0) setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    source_close(&sides[i]->source);
  }
  pipe_give(&connection->to_server);
  pipe_give(&connection->to_caller);
  budget_give(DESCRIPTORS);
  connections--;
  bury(&connection->grave);
  ports_resume();
}

/* false: the connection is torn */
static bool hand_on(struct way *way, int from, int to) {
  for (int round = 0; round < ROUNDS; round++) {
    if (!way->ended && !way->pending) {
      if (way->pipe[0] < 0 && !pipe_take(way)) return false;
      ssize_t came = splice(from, NULL, way->pipe[1], NULL, 1 << 30, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (came < 0 && errno == EINTR) continue;
      if (came < 0 && errno != EAGAIN) return false;
      if (came < 0) break;
      if (came == 0) way->ended = true;
      way->pending = (size_t)came;
    }
    if (way->pending) {
      ssize_t went = splice(way->pipe[0], NULL, to, NULL, way->pending, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (went < 0 && errno == EINTR) continue;
      if (went < 0 && errno != EAGAIN) return false;
      if (went < 0) return true;
      way->pending -= (size_t)went;
    }
    if (way->ended && !way->pending) {
      way->closed = true;
      shutdown(to, SHUT_WR);
      break;
    }
  }
  if (!way->pending) pipe_give(way);
  return true;
}

/* A side that has been told all, and is not asked now, is not looked at: the kernel would report its end again and again. */
static void look(struct side *side, const struct way *from, const struct way *to) {
  uint32_t events = (!from->ended && !from->pending ? EPOLLIN : 0) | (to->pending ? EPOLLOUT : 0);
  if (!events && to->closed) unwatch(&side->source);
  else watch(&side->source, events);
}

static void go_on(struct connection *c) {
  int caller = c->caller.source.fd, server = c->server.source.fd;
  if (!hand_on(&c->to_server, caller, server) || !hand_on(&c->to_caller, server, caller)) end(c, true);
  else if (c->to_server.closed && c->to_caller.closed) end(c, false);
  else {
    look(&c->caller, &c->to_server, &c->to_caller);
    look(&c->server, &c->to_caller, &c->to_server);
  }
}

static void ready(struct source *source, uint32_t events) {
  struct side *side = OWNER(source, struct side, source);
  struct connection *c = side->connection;
  if (events & EPOLLERR) {
    end(c, true);
    return;
  }
  if (!c->connected) {
    /* The caller went before anybody answered. */
    if (side == &c->caller) {
      if (events & EPOLLHUP) end(c, true);
      return;
    }
    c->connected = true;
  }
  go_on(c);
}

static void prepare(int fd) {
  int on = 1, idle = IDLE_S, ask = ASK_S, questions = QUESTIONS;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &ask, sizeof ask);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &questions, sizeof questions);
}

static int call(const struct port *port, const struct in6_addr *caller) {
  struct sockaddr_in own = source_address(caller);
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  prepare(fd);
  /* Its port is chosen with the call: one serves for many targets. */
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (!bind(fd, (struct sockaddr *)&own, sizeof own) &&
      (!connect(fd, (const struct sockaddr *)&port->target, sizeof port->target) || errno == EINPROGRESS))
    return fd;
  close(fd);
  return -1;
}

void tcp_accept(struct source *source, uint32_t events) {
  struct port *port = OWNER(source, struct port, source);
  for (int i = 0; i < 16; i++) {
    struct sockaddr_in6 from;
    socklen_t length = sizeof from;
    if (!budget_take(DESCRIPTORS)) {
      port_pause(port);
      return;
    }
    int fd = accept4(source->fd, (struct sockaddr *)&from, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct connection *c = fd < 0 ? NULL : calloc(1, sizeof *c);
    if (!c) {
      if (fd >= 0) close(fd);
      budget_give(DESCRIPTORS);
      /* The machine has none left: it is tried again a little later. */
      if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) port_pause(port);
      return;
    }
    connections++;
    prepare(fd);
    c->caller = (struct side){.source = {.fd = fd, .ready = ready}, .connection = c};
    c->server = (struct side){.source = {.fd = call(port, &from.sin6_addr), .ready = ready}, .connection = c};
    for (int end = 0; end < 2; end++) c->to_server.pipe[end] = c->to_caller.pipe[end] = -1;
    if (c->server.source.fd < 0) {
      end(c, true);
      continue;
    }
    watch(&c->caller.source, 0);
    watch(&c->server.source, EPOLLOUT);
  }
}
