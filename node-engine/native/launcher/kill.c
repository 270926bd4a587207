#include "modes.h"
#include "cgroup.h"
#include "failure.h"
#include "state.h"

int kill_all(const char *run_dir) {
  struct cgroups groups;
  int dir = run_dir_open(run_dir);
  struct state state = state_read(dir);
  cgroup_find(&groups, state.cgroup);
  cgroup_open(&groups);
  cgroup_kill(&groups);
  return 0;
}
