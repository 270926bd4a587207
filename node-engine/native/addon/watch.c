// Hears of every transaction of nf_tables, without asking again and again: in the process's own network namespace, or in all others
// that it has numbered (NETLINK_LISTEN_ALL_NSID), but for what this process did itself.
#include "addon.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_BYTES (64 * 1024)
// More than this is not looked at one by one: what is beyond is lost, and said to be.
#define MOST_BYTES (1024 * 1024)

// Before each datagram of another namespace.
struct framing {
  int32_t number;
  uint32_t length;
};

struct watch_job {
  struct job job;
  int socket;
  int cancel;
  bool lost; // events are missing
  bool others; // those of other namespaces, each datagram behind its namespace's number and its own length
  int error;
  char *events;
  size_t length;
};

// watchOpen(others) → {socket, cancel}, or a negative errno
static napi_value js_watch_open(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  int others = arg_int(&args, 0) != 0;
  if (args_bad(&args)) return NULL;
  struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1u << (NFNLGRP_NFTABLES - 1)};
  int size = 1 << 20;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
  int cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0 || cancel < 0 ||
      (others && setsockopt(fd, SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &others, sizeof others) < 0) || bind(fd, (struct sockaddr *)&group, sizeof group) < 0) {
    int error = errno;
    if (fd >= 0) close(fd);
    if (cancel >= 0) close(cancel);
    return make_int(env, -error);
  }
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  napi_value result;
  napi_create_object(env, &result);
  set_named(env, result, "socket", make_int(env, fd));
  set_named(env, result, "cancel", make_int(env, cancel));
  return result;
}

// Number of the namespace that a datagram comes from; -1: the socket's own.
static int32_t namespace_of(struct msghdr *message) {
  for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
    if (part->cmsg_level == SOL_NETLINK && part->cmsg_type == NETLINK_LISTEN_ALL_NSID) {
      int number;
      memcpy(&number, CMSG_DATA(part), sizeof number);
      return number;
    }
  return -1;
}

// All messages of a datagram are of one transaction, and name the socket that asked for it.
static bool is_own(const char *datagram, size_t length) {
  struct nlmsghdr header;
  if (length < sizeof header) return false;
  memcpy(&header, datagram, sizeof header);
  return (header.nlmsg_pid & ~OWN_PORTS_MASK) == OWN_PORTS;
}

// Takes what has come, and leaves out what is of no interest.
static void take_events(struct watch_job *job, char *buffer) {
  for (;;) {
    char control[CMSG_SPACE(sizeof(int))];
    struct framing frame;
    struct iovec data = {.iov_base = buffer + sizeof frame, .iov_len = RECEIVE_BYTES};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(job->socket, &message, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == ENOBUFS) {
      job->lost = true;
      continue;
    }
    if (got < 0 && errno != EAGAIN) job->error = errno;
    if (got <= 0) return;
    size_t length = (size_t)got;
    char *start = data.iov_base;
    if (job->others) {
      frame = (struct framing){.number = namespace_of(&message), .length = (uint32_t)length};
      if (frame.number < 0 || is_own(start, length)) continue;
      start = memcpy(buffer, &frame, sizeof frame);
      length += sizeof frame;
    }
    char *grown = job->length + length > MOST_BYTES ? NULL : realloc(job->events, job->length + length);
    if (!grown) {
      job->lost = true;
      continue;
    }
    memcpy(grown + job->length, start, length);
    job->events = grown;
    job->length += length;
  }
}

static void watch_run(struct job *base) {
  struct watch_job *job = (struct watch_job *)base;
  struct pollfd ends[] = {{.fd = job->socket, .events = POLLIN}, {.fd = job->cancel, .events = POLLIN}};
  char *buffer = malloc(sizeof(struct framing) + RECEIVE_BYTES);
  if (!buffer) job->error = ENOMEM;
  while (!job->error && job->length == 0 && !job->lost) {
    if (poll(ends, 2, -1) < 0) {
      if (errno != EINTR) job->error = errno;
      continue;
    }
    if (ends[1].revents) break;
    take_events(job, buffer);
  }
  free(buffer);
}

static napi_value watch_result(napi_env env, struct job *base) {
  struct watch_job *job = (struct watch_job *)base;
  napi_value result, lost;
  napi_create_object(env, &result);
  napi_get_boolean(env, job->lost, &lost);
  set_named(env, result, "error", make_int(env, -(int64_t)job->error));
  set_named(env, result, "lost", lost);
  set_named(env, result, "events", make_buffer(env, job->events, job->length));
  return result;
}

static void watch_free(struct job *base) {
  struct watch_job *job = (struct watch_job *)base;
  free(job->events);
  free(job);
}

// watchWait(socket, cancel, others) → Promise<{error, lost, events}>; no events: it was cancelled
static napi_value js_watch_wait(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  struct watch_job *job = calloc(1, sizeof *job);
  job->job = (struct job){.run = watch_run, .result = watch_result, .free = watch_free, .background = true};
  job->socket = (int)arg_int(&args, 0);
  job->cancel = (int)arg_int(&args, 1);
  job->others = arg_int(&args, 2) != 0;
  if (args_bad(&args)) {
    watch_free(&job->job);
    return NULL;
  }
  return job_start(env, &job->job);
}

// watchCancel(cancel)
static napi_value js_watch_cancel(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  uint64_t one = 1;
  int cancel = (int)arg_int(&args, 0);
  if (args_bad(&args)) return NULL;
  return make_result(env, write(cancel, &one, sizeof one) == sizeof one ? 0 : -1);
}

void export_watch(napi_env env, napi_value exports) {
  export_function(env, exports, "watchOpen", js_watch_open);
  export_function(env, exports, "watchWait", js_watch_wait);
  export_function(env, exports, "watchCancel", js_watch_cancel);
}
