#include "lease.h"
#include "failure.h"
#include <fcntl.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 1000 };

/* Time in suspension counts: the others went on meanwhile. */
static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* 0 when it cannot be read: who cannot know is not let run. */
static uint64_t end_ms(int file) {
  uint64_t end;
  return pread(file, &end, sizeof end, 0) == (ssize_t)sizeof end ? end : 0;
}

int lease_open(const char *path) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) fail("lease", path, "opening the lease \"%s\"", path);
  return file;
}

bool lease_is_over(int file) { return now_ms() >= end_ms(file); }

int lease_timer(int file) {
  int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  if (timer < 0) fail("lease", NULL, "making a timer");
  lease_watch(timer, file);
  return timer;
}

void lease_watch(int timer, int file) {
  uint64_t now = now_ms(), end = end_ms(file), next = now + LOOK_EVERY_MS;
  if (end < next) next = end > now ? end : now;
  if (next == 0) next = 1;
  struct itimerspec at = {.it_value = {(time_t)(next / 1000), (long)(next % 1000) * 1000000}};
  timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}
