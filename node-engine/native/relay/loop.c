#include "relay.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* How long it is waited where the machine, not this process, has no descriptors or memory left. */
#define PAUSE_MS 1000

static int epoll = -1;
static struct grave *graves;

static void change(int operation, struct source *source) {
  if (epoll < 0) epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = source->events, .data.ptr = source};
  if (epoll_ctl(epoll, operation, source->fd, &event)) abort();
}

void watch(struct source *source, uint32_t events) {
  if (source->watched && source->events == events) return;
  source->events = events;
  change(source->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, source);
  source->watched = true;
}

void unwatch(struct source *source) {
  if (source->watched) change(EPOLL_CTL_DEL, source);
  source->watched = false;
}

void source_close(struct source *source) {
  if (source->fd < 0) return;
  unwatch(source);
  close(source->fd);
  source->fd = -1;
}

void bury(struct grave *grave) {
  grave->next = graves;
  graves = grave;
}

int64_t now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

_Noreturn void serve(void) {
  struct epoll_event events[64];
  /* It outlives its daemon while it has ports, and its ports while it has connections and a daemon. */
  while (ports || control_waits() || (connections && control_held())) {
    int64_t now = now_ms(), next = udp_expire(now);
    int wait = next < 0 ? -1 : next - now > 60000 ? 60000 : (int)(next - now);
    if (paused_ports && (wait < 0 || wait > PAUSE_MS)) wait = PAUSE_MS;
    int count = epoll_wait(epoll, events, sizeof events / sizeof *events, wait);
    if (count < 0 && errno != EINTR) abort();
    for (int i = 0; i < count; i++) {
      struct source *source = events[i].data.ptr;
      if (source->fd >= 0) source->ready(source, events[i].events);
    }
    if (count == 0) ports_resume();
    while (graves) {
      struct grave *grave = graves;
      graves = grave->next;
      free(grave);
    }
  }
  _exit(0);
}
