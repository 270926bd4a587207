#include "relay.h"
#include <limits.h>
#include <sys/resource.h>

/* Control, its listener, epoll, the standard streams, and one that is just being accepted. */
#define OWN 16
/* The daemon is told this often that callers have to wait. */
#define TELL_MS 60000

static unsigned whole, used;
static int64_t told = INT64_MIN / 2;

void budget_open(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit)) limit.rlim_max = 1024;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  whole = limit.rlim_cur > INT_MAX ? INT_MAX : (unsigned)limit.rlim_cur;
  whole = whole > 2 * OWN ? whole - OWN : OWN;
}

bool budget_take(unsigned descriptors) {
  if (whole - used >= descriptors) {
    used += descriptors;
    return true;
  }
  int64_t now = now_ms();
  if (now - told >= TELL_MS) control_tell("full %u %zu\n", whole, connections);
  if (now - told >= TELL_MS) told = now;
  return false;
}

void budget_give(unsigned descriptors) { used -= descriptors; }

unsigned budget_whole(void) { return whole; }
