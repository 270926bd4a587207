#include "state.h"
#include "failure.h"
#include "json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Durable: for what must be there after the machine has crashed, too. A crash ends the state of what ran. */
static bool replace(int dir, const char *name, const char *text, bool durable) {
  char temporary[64];
  snprintf(temporary, sizeof temporary, ".%s.new", name);
  int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return false;
  size_t length = strlen(text);
  bool good = write(fd, text, length) == (ssize_t)length && (!durable || !fsync(fd));
  close(fd);
  return good && !renameat(dir, temporary, dir, name) && (!durable || !fsync(dir));
}

void state_write(int run_dir, const struct state *s) {
  char cgroup[600], text[1024];
  json_quote(cgroup, sizeof cgroup, s->cgroup);
  snprintf(text, sizeof text,
           "{\"pid\":%d,\"startTime\":\"%llu\",\"supervisorPid\":%d,\"supervisorStartTime\":\"%llu\",\"cgroup\":%s}\n", s->pid,
           (unsigned long long)s->start_time, s->supervisor_pid, (unsigned long long)s->supervisor_start_time, cgroup);
  if (!replace(run_dir, "state.json", text, false)) fail("state", "state.json", "writing \"state.json\"");
}

static uint64_t read_time(const struct json *json, const char *key) {
  const char *text = json_string(json, key);
  return text ? strtoull(text, NULL, 10) : 0;
}

struct state state_read(int run_dir) {
  if (faccessat(run_dir, "state.json", F_OK, 0))
    fail_because(ESRCH, "state", "state.json", "reading \"state.json\": the container is not running");
  const struct json *json = json_load(run_dir, "state.json");
  struct state s = {.pid = (int)json_integer(json, "pid", 0),
                    .start_time = read_time(json, "startTime"),
                    .supervisor_pid = (int)json_integer(json, "supervisorPid", 0),
                    .supervisor_start_time = read_time(json, "supervisorStartTime")};
  const char *cgroup = json_string(json, "cgroup");
  if (s.pid <= 0 || !cgroup || cgroup[0] != '/')
    fail_because(EINVAL, "state", "state.json", "reading \"state.json\": it has no process or no cgroup");
  snprintf(s.cgroup, sizeof s.cgroup, "%s", cgroup);
  return s;
}

void exit_write(int run_dir, int code, int signal, bool oom_killed, bool lease_over) {
  char text[256];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  snprintf(text, sizeof text, "{\"code\":%d,\"signal\":%d,\"oomKilled\":%s,\"leaseOver\":%s,\"atMs\":%lld}\n", code, signal,
           oom_killed ? "true" : "false", lease_over ? "true" : "false", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
  if (!replace(run_dir, "exit.json", text, true)) warning("the exit status cannot be written: %s", strerror(errno));
}

int run_dir_open(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail("state", path, "opening the run directory \"%s\"", path);
  return fd;
}
