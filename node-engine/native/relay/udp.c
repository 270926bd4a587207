#include "relay.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* As long as the kernel remembers a caller who was not answered, and one who was (nf_conntrack_udp_timeout, …_stream). */
#define UNANSWERED_MS 30000
#define ANSWERED_MS 120000
#define BUCKETS 16384 /* a power of two */
#define ROUNDS 64

/* Who calls from where, and whom: answers come from the address that was called. */
struct key {
  struct in6_addr caller, called;
  uint32_t port;  /* in the order of the network; no gaps, for keys are compared byte by byte */
  uint32_t scope; /* interface of a caller whose address is of one link */
};

struct flow {
  struct grave grave;
  struct source source;
  const struct port *port;
  struct key key;
  struct flow *chain;         /* of the same bucket */
  struct flow *older, *newer; /* of those that live as long */
  bool answered;
  int64_t used;
};

/* The longest unused first. */
struct queue {
  struct flow *oldest, *newest;
};

static struct flow *buckets[BUCKETS];
static struct queue queues[2]; /* unanswered, answered */
static size_t flows;
static char datagram[65536];

static struct flow **bucket(const struct port *port, const struct key *key) {
  static uint32_t seed;
  if (!seed && getrandom(&seed, sizeof seed, GRND_NONBLOCK) < 0) seed = 1;
  uint32_t hash = seed ^ (uint32_t)(uintptr_t)port;
  const unsigned char *bytes = (const unsigned char *)key;
  for (size_t i = 0; i < sizeof *key; i++) hash = (hash ^ bytes[i]) * 16777619u;
  return &buckets[(hash ^ hash >> 16) & (BUCKETS - 1)];
}

static void leave_queue(struct flow *flow) {
  struct queue *queue = &queues[flow->answered];
  *(flow->older ? &flow->older->newer : &queue->oldest) = flow->newer;
  *(flow->newer ? &flow->newer->older : &queue->newest) = flow->older;
}

static void join_queue(struct flow *flow) {
  struct queue *queue = &queues[flow->answered];
  flow->used = now_ms();
  flow->newer = NULL;
  flow->older = queue->newest;
  *(queue->newest ? &queue->newest->newer : &queue->oldest) = flow;
  queue->newest = flow;
}

static void forget(struct flow *flow) {
  struct flow **at = bucket(flow->port, &flow->key);
  while (*at != flow) at = &(*at)->chain;
  *at = flow->chain;
  leave_queue(flow);
  source_close(&flow->source);
  budget_give(1);
  flows--;
  bury(&flow->grave);
}

static void answer(struct source *source, uint32_t events) {
  struct flow *flow = OWNER(source, struct flow, source);
  struct sockaddr_in6 caller = {
      .sin6_family = AF_INET6, .sin6_addr = flow->key.caller, .sin6_port = (in_port_t)flow->key.port, .sin6_scope_id = flow->key.scope};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
  } control = {.bytes = {0}};
  struct in6_pktinfo from = {.ipi6_addr = flow->key.called, .ipi6_ifindex = flow->key.scope};
  control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof from), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO};
  memcpy(CMSG_DATA(&control.header), &from, sizeof from);
  for (int round = 0; round < ROUNDS; round++) {
    ssize_t length = recv(source->fd, datagram, sizeof datagram, 0);
    if (length < 0 && errno == EINTR) continue;
    /* Nobody is there any more: who calls again is led anew. */
    if (length < 0 && errno != EAGAIN) forget(flow);
    if (length < 0) return;
    struct iovec part = {datagram, (size_t)length};
    struct msghdr message = {.msg_name = &caller,
                             .msg_namelen = sizeof caller,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    sendmsg(flow->port->source.fd, &message, MSG_NOSIGNAL);
    leave_queue(flow);
    flow->answered = true;
    join_queue(flow);
  }
}

/* One more. Of those that nobody answers the oldest makes room, for the sender's address may be invented; half of all descriptors are left to TCP. */
static bool make_room(void) {
  if (flows < budget_whole() / 2 && budget_take(1)) return true;
  struct flow *oldest = queues[0].oldest ? queues[0].oldest : queues[1].oldest;
  if (!oldest) return false;
  forget(oldest);
  return budget_take(1);
}

static struct flow *begin(const struct port *port, const struct key *key) {
  if (!make_room()) return NULL;
  struct flow *flow = calloc(1, sizeof *flow);
  struct sockaddr_in own = source_address(&key->caller);
  int fd = flow ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
  if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) ||
      connect(fd, (const struct sockaddr *)&port->target, sizeof port->target)) {
    if (fd >= 0) close(fd);
    free(flow);
    budget_give(1);
    return NULL;
  }
  struct flow **at = bucket(port, key);
  *flow = (struct flow){.source = {.fd = fd, .ready = answer}, .port = port, .key = *key, .chain = *at};
  *at = flow;
  flows++;
  join_queue(flow);
  watch(&flow->source, EPOLLIN);
  return flow;
}

static struct flow *find(const struct port *port, const struct key *key) {
  for (struct flow *flow = *bucket(port, key); flow; flow = flow->chain)
    if (flow->port == port && !memcmp(&flow->key, key, sizeof *key)) return flow;
  return NULL;
}

void udp_receive(struct source *source, uint32_t events) {
  const struct port *port = OWNER(source, struct port, source);
  for (int round = 0; round < ROUNDS; round++) {
    struct sockaddr_in6 caller;
    union {
      struct cmsghdr header;
      char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    } control;
    struct iovec part = {datagram, sizeof datagram};
    struct msghdr message = {.msg_name = &caller,
                             .msg_namelen = sizeof caller,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t length = recvmsg(source->fd, &message, 0);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0 && errno == EAGAIN) return;
    if (length < 0) continue; /* what came back of an answer before */
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != IPPROTO_IPV6 || header->cmsg_type != IPV6_PKTINFO) continue;
    struct in6_pktinfo to;
    memcpy(&to, CMSG_DATA(header), sizeof to);
    if (IN6_IS_ADDR_MULTICAST(&to.ipi6_addr)) continue;
    struct key key = {.caller = caller.sin6_addr, .called = to.ipi6_addr, .port = caller.sin6_port, .scope = caller.sin6_scope_id};
    struct flow *flow = find(port, &key);
    if (!flow) flow = begin(port, &key);
    if (!flow) continue;
    if (send(flow->source.fd, datagram, (size_t)length, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED) {
      /* That was said of the one before. */
      send(flow->source.fd, datagram, (size_t)length, MSG_NOSIGNAL);
    }
    leave_queue(flow);
    join_queue(flow);
  }
}

void udp_forget(const struct port *port) {
  for (int kind = 0; kind < 2; kind++)
    for (struct flow *flow = queues[kind].oldest, *next; flow; flow = next) {
      next = flow->newer;
      if (flow->port == port) forget(flow);
    }
}

int64_t udp_expire(int64_t now) {
  int64_t next = -1;
  for (int kind = 0; kind < 2; kind++) {
    int64_t life = kind ? ANSWERED_MS : UNANSWERED_MS;
    struct flow *flow;
    while ((flow = queues[kind].oldest) && flow->used + life <= now) forget(flow);
    if (flow && (next < 0 || flow->used + life < next)) next = flow->used + life;
  }
  return next;
}
