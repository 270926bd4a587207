// Network namespaces, netlink and sockets inside them. Every function works on a thread of its own.
#include "addon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

// Larger than the kernel's largest dump message (32 KiB).
#define RECEIVE_BYTES (64 * 1024)
#define MAX_STEPS 8

// One netlink request: one or more messages, sent at once.
struct step {
  bool outside; // in the namespace of the caller, not in the job's
  int protocol;
  char *request;
  size_t request_length;
  char *reply;
  size_t reply_length;
};

struct netns_job {
  struct job job;
  char *path; // of the namespace's file; empty: the caller's namespace
  bool create;
  char *sysctls; // key NUL value NUL …, key with slashes below /proc/sys; a leading '-' allows its absence
  size_t sysctls_length;
  struct step steps[MAX_STEPS];
  size_t step_count;
  int error;
  const char *stage;
};

static bool fail(struct netns_job *job, const char *stage) {
  job->error = errno;
  job->stage = stage;
  return false;
}

// A new namespace, kept alive by a bind mount on a file: it needs no process.
static bool create_namespace(struct netns_job *job) {
  if (unshare(CLONE_NEWNET) < 0) return fail(job, "unshare");
  int fd = open(job->path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  if (fd < 0) return fail(job, "open");
  close(fd);
  if (mount("/proc/thread-self/ns/net", job->path, NULL, MS_BIND, NULL) < 0) {
    fail(job, "mount");
    unlink(job->path);
    return false;
  }
  return true;
}

static bool enter_namespace(struct netns_job *job) {
  int fd = open(job->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(job, "open");
  if (setns(fd, CLONE_NEWNET) < 0) {
    fail(job, "setns");
    close(fd);
    return false;
  }
  close(fd);
  return true;
}

// /proc/sys/net shows the namespace of the thread that opens it.
static bool write_sysctls(struct netns_job *job) {
  const char *end = job->sysctls + job->sysctls_length;
  for (const char *key = job->sysctls; key && key < end;) {
    const char *value = key + strlen(key) + 1;
    if (value >= end) break;
    bool optional = *key == '-';
    char name[256];
    snprintf(name, sizeof name, "/proc/sys/%s", key + optional);
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
      if (!(optional && errno == ENOENT)) return fail(job, "sysctl");
    } else {
      ssize_t written = write(fd, value, strlen(value));
      if (written < 0) fail(job, "sysctl");
      close(fd);
      if (written < 0) return false;
    }
    key = value + strlen(value) + 1;
  }
  return true;
}

// Who hears of a change to the rules knows by the port that this process made it. A port is taken only while its socket is open.
static void name_socket(int fd) {
  static atomic_uint next;
  for (int attempt = 0; attempt < 16; attempt++) {
    struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_pid = OWN_PORTS | (next++ & OWN_PORTS_MASK)};
    if (bind(fd, (struct sockaddr *)&own, sizeof own) == 0) return;
  }
}

// Netlink is synchronous: when send returns, the kernel has done the work and queued its answers; a dump queues its next
// part while one is taken. So "nothing more to read" is the end.
static bool run_step(struct netns_job *job, struct step *step) {
  int size = 1 << 20;
  bool done = false;
  char *buffer = malloc(RECEIVE_BYTES);
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, step->protocol);
  if (fd < 0 || !buffer) {
    fail(job, "socket");
    goto out;
  }
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  // An acknowledgement need not repeat the request.
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &(int){1}, sizeof(int));
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &(int){1}, sizeof(int));
  if (step->protocol == NETLINK_NETFILTER) name_socket(fd);
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  if (sendto(fd, step->request, step->request_length, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
    fail(job, "send");
    goto out;
  }
  for (;;) {
    ssize_t got = recv(fd, buffer, RECEIVE_BYTES, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno != EAGAIN) {
      fail(job, "receive");
      goto out;
    }
    if (got <= 0) break;
    char *grown = realloc(step->reply, step->reply_length + (size_t)got);
    if (!grown) {
      fail(job, "receive");
      goto out;
    }
    memcpy(grown + step->reply_length, buffer, (size_t)got);
    step->reply = grown;
    step->reply_length += (size_t)got;
  }
  done = true;
out:
  if (fd >= 0) close(fd);
  free(buffer);
  return done;
}

static void netns_run(struct job *base) {
  struct netns_job *job = (struct netns_job *)base;
  bool elsewhere = job->path[0] != 0, outside = !elsewhere;
  int caller = -1;
  if (elsewhere) {
    caller = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (caller < 0) {
      fail(job, "open");
      return;
    }
    if (!(job->create ? create_namespace(job) : enter_namespace(job))) goto out;
  }
  if (!write_sysctls(job)) goto out;
  for (size_t i = 0; i < job->step_count; i++) {
    struct step *step = &job->steps[i];
    if (elsewhere && step->outside && !outside) {
      if (setns(caller, CLONE_NEWNET) < 0) {
        fail(job, "setns");
        goto out;
      }
      outside = true;
    } else if (elsewhere && !step->outside && outside) {
      if (!enter_namespace(job)) goto out;
      outside = false;
    }
    if (!run_step(job, step)) goto out;
  }
out:
  if (caller >= 0) close(caller);
}

static napi_value netns_result(napi_env env, struct job *base) {
  struct netns_job *job = (struct netns_job *)base;
  napi_value result, replies, stage;
  napi_create_object(env, &result);
  set_named(env, result, "error", make_int(env, -(int64_t)job->error));
  napi_create_string_utf8(env, job->stage ? job->stage : "", NAPI_AUTO_LENGTH, &stage);
  set_named(env, result, "stage", stage);
  napi_create_array(env, &replies);
  for (size_t i = 0; i < job->step_count; i++)
    napi_set_element(env, replies, (uint32_t)i, make_buffer(env, job->steps[i].reply, job->steps[i].reply_length));
  set_named(env, result, "replies", replies);
  return result;
}

static void netns_free(struct job *base) {
  struct netns_job *job = (struct netns_job *)base;
  for (size_t i = 0; i < job->step_count; i++) {
    free(job->steps[i].request);
    free(job->steps[i].reply);
  }
  free(job->path);
  free(job->sysctls);
  free(job);
}

static bool take_step(napi_env env, napi_value array, uint32_t index, struct step *step) {
  napi_value item, outside, protocol, request;
  int32_t number = 0;
  napi_get_element(env, array, index, &item);
  if (napi_get_named_property(env, item, "outside", &outside) != napi_ok ||
      napi_get_value_bool(env, outside, &step->outside) != napi_ok ||
      napi_get_named_property(env, item, "protocol", &protocol) != napi_ok ||
      napi_get_value_int32(env, protocol, &number) != napi_ok ||
      napi_get_named_property(env, item, "request", &request) != napi_ok)
    return false;
  step->protocol = number;
  step->request = value_copy(env, request, &step->request_length);
  return step->request != NULL;
}

// netns(path, create, sysctls, steps) → Promise<{error, stage, replies}>
static napi_value js_netns(napi_env env, napi_callback_info info) {
  struct args args;
  size_t length;
  uint32_t count = 0;
  args_take(&args, env, info);
  struct netns_job *job = calloc(1, sizeof *job);
  job->job = (struct job){.run = netns_run, .result = netns_result, .free = netns_free};
  if (args.count < 4 || napi_get_value_bool(env, args.value[1], &job->create) != napi_ok ||
      napi_get_array_length(env, args.value[3], &count) != napi_ok || count > MAX_STEPS)
    args.bad = true;
  if (!args.bad) {
    job->path = value_copy(env, args.value[0], &length);
    job->sysctls = value_copy(env, args.value[2], &job->sysctls_length);
    if (!job->path || !job->sysctls) args.bad = true;
  }
  for (uint32_t i = 0; i < count && !args.bad; i++) {
    job->step_count = i + 1;
    if (!take_step(env, args.value[3], i, &job->steps[i])) args.bad = true;
  }
  if (args_bad(&args)) {
    netns_free(&job->job);
    return NULL;
  }
  return job_start(env, &job->job);
}

enum socket_kind { UDP = 0, TCP_LISTEN = 1, TCP_RESERVE = 2, SCTP_RESERVE = 3 };

struct socket_job {
  struct job job;
  char *path;
  enum socket_kind kind;
  struct sockaddr_storage address;
  socklen_t length; // of the address
  int error;
  int fd;
};

// Holds a TCP port without answering on it. SO_REUSEADDR, so that connections in TIME_WAIT do not count as a user; listen,
// for only that finds out whether another process listens; then out of the listening state, so that whoever connects is
// refused instead of left waiting; and last without SO_REUSEADDR, so that no other process can bind the port.
static int reserve(int fd, const struct sockaddr *address, socklen_t length) {
  int on = 1, off = 0;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) return -1;
  if (bind(fd, address, length) < 0) return -1;
  if (listen(fd, 1) < 0) return -1;
  if (shutdown(fd, SHUT_RDWR) < 0) return -1;
  return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof off);
}

static int prepare(int fd, enum socket_kind kind, const struct sockaddr *address, socklen_t length) {
  int on = 1;
  // IPv4 has a socket of its own.
  if (address->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) return -1;
  switch (kind) {
  case TCP_RESERVE:
    return reserve(fd, address, length);
  case TCP_LISTEN:
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) return -1;
    if (bind(fd, address, length) < 0) return -1;
    return listen(fd, 128);
  case UDP:
  case SCTP_RESERVE:
    return bind(fd, address, length);
  }
  errno = EINVAL;
  return -1;
}

static void socket_run(struct job *base) {
  struct socket_job *job = (struct socket_job *)base;
  socklen_t length = sizeof job->address;
  job->fd = -1;
  if (job->path[0]) {
    int ns = open(job->path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) < 0) job->error = errno;
    if (ns >= 0) close(ns);
    if (job->error) return;
  }
  int type = job->kind == UDP ? SOCK_DGRAM : SOCK_STREAM;
  int protocol = job->kind == SCTP_RESERVE ? IPPROTO_SCTP : 0;
  int fd = socket(job->address.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0 || prepare(fd, job->kind, (struct sockaddr *)&job->address, job->length) < 0 ||
      getsockname(fd, (struct sockaddr *)&job->address, &length) < 0) {
    job->error = errno;
    if (fd >= 0) close(fd);
    return;
  }
  job->fd = fd;
}

static in_port_t port_of(const struct socket_job *job) {
  return job->address.ss_family == AF_INET ? ((const struct sockaddr_in *)&job->address)->sin_port
                                           : ((const struct sockaddr_in6 *)&job->address)->sin6_port;
}

static napi_value socket_result(napi_env env, struct job *base) {
  struct socket_job *job = (struct socket_job *)base;
  napi_value result;
  napi_create_object(env, &result);
  set_named(env, result, "error", make_int(env, -(int64_t)job->error));
  set_named(env, result, "fd", make_int(env, job->fd));
  set_named(env, result, "port", make_int(env, ntohs(port_of(job))));
  job->fd = -1; // the caller's now
  return result;
}

static void socket_free(struct job *base) {
  struct socket_job *job = (struct socket_job *)base;
  if (job->fd >= 0) close(job->fd);
  free(job->path);
  free(job);
}

static bool set_address(struct socket_job *job, const char *ip, in_port_t port) {
  struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = port};
  struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = port};
  if (inet_pton(AF_INET, ip, &ipv4.sin_addr) == 1) memcpy(&job->address, &ipv4, job->length = sizeof ipv4);
  else if (inet_pton(AF_INET6, ip, &ipv6.sin6_addr) == 1) memcpy(&job->address, &ipv6, job->length = sizeof ipv6);
  else return false;
  return true;
}

// socket(path, kind, ip, port) → Promise<{error, fd, port}>
static napi_value js_socket(napi_env env, napi_callback_info info) {
  struct args args;
  size_t length;
  napi_value result = NULL;
  args_take(&args, env, info);
  struct socket_job *job = calloc(1, sizeof *job);
  job->job = (struct job){.run = socket_run, .result = socket_result, .free = socket_free};
  job->fd = -1;
  job->kind = (enum socket_kind)arg_int(&args, 1);
  const char *ip = arg_text(&args, 2);
  in_port_t port = htons((uint16_t)arg_int(&args, 3));
  if (!ip || !set_address(job, ip, port)) args.bad = true;
  if (!args.bad) job->path = value_copy(env, args.value[0], &length);
  if (!job->path) args.bad = true;
  if (args_bad(&args)) socket_free(&job->job);
  else result = job_start(env, &job->job);
  args_free(&args);
  return result;
}

void export_network(napi_env env, napi_value exports) {
  export_function(env, exports, "netns", js_netns);
  export_function(env, exports, "socket", js_socket);
}
