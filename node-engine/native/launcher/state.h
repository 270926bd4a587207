/* The files of the run directory: what a daemon that was away reads when it comes back. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct state {
  int pid;
  uint64_t start_time;
  int supervisor_pid;
  uint64_t supervisor_start_time;
  char cgroup[256];
};

void state_write(int run_dir, const struct state *state);
/* Fails the launch when there is none or it is malformed. */
struct state state_read(int run_dir);
/* Durable before it is announced: temporary file, fsync, rename, fsync of the directory. */
void exit_write(int run_dir, int code, int signal, bool oom_killed, bool lease_over);
/* Opens the run directory; fails the launch when it is not there. */
int run_dir_open(const char *path);
