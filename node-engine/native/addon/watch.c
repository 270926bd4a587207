// Hears of every transaction of nf_tables in the process's own network namespace, without asking again and again.
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

struct watch_job {
  struct job job;
  int socket;
  int cancel;
  bool lost; // events are missing
  int error;
  char *events;
  size_t length;
};

// watchOpen() → {socket, cancel}, or a negative errno
static napi_value js_watch_open(napi_env env, napi_callback_info info) {
  (void)info;
  struct sockaddr_nl group = {.nl_family = AF_NETLINK, .nl_groups = 1u << (NFNLGRP_NFTABLES - 1)};
  int size = 1 << 20;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
  int cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0 || cancel < 0 || bind(fd, (struct sockaddr *)&group, sizeof group) < 0) {
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

static void watch_run(struct job *base) {
  struct watch_job *job = (struct watch_job *)base;
  struct pollfd ends[] = {{.fd = job->socket, .events = POLLIN}, {.fd = job->cancel, .events = POLLIN}};
  while (poll(ends, 2, -1) < 0)
    if (errno != EINTR) {
      job->error = errno;
      return;
    }
  if (ends[1].revents) return;
  char *buffer = malloc(RECEIVE_BYTES);
  if (!buffer) {
    job->error = ENOMEM;
    return;
  }
  for (;;) {
    ssize_t got = recv(job->socket, buffer, RECEIVE_BYTES, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == ENOBUFS) {
      job->lost = true;
      continue;
    }
    if (got < 0 && errno != EAGAIN) job->error = errno;
    if (got <= 0) break;
    char *grown = job->length + (size_t)got > MOST_BYTES ? NULL : realloc(job->events, job->length + (size_t)got);
    if (!grown) {
      job->lost = true;
      continue;
    }
    memcpy(grown + job->length, buffer, (size_t)got);
    job->events = grown;
    job->length += (size_t)got;
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

// watchWait(socket, cancel) → Promise<{error, lost, events}>; no events: it was cancelled
static napi_value js_watch_wait(napi_env env, napi_callback_info info) {
  struct args args;
  args_take(&args, env, info);
  struct watch_job *job = calloc(1, sizeof *job);
  job->job = (struct job){.run = watch_run, .result = watch_result, .free = watch_free, .background = true};
  job->socket = (int)arg_int(&args, 0);
  job->cancel = (int)arg_int(&args, 1);
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
