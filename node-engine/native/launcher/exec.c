/* Executes a program in a running container. This process stays outside as its parent: relays streams, signals and the exit. */
#include "cgroup.h"
#include "failure.h"
#include "json.h"
#include "kernel.h"
#include "launch.h"
#include "modes.h"
#include "process.h"
#include "relay.h"
#include "resolve.h"
#include "state.h"
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { SIZE_FD = 3, FAILURE_FD = 4 };

/* Whether the caller has left that descriptor open for us. If not, its place is taken, so that no file of ours gets the number. */
static bool claim(int fd) {
  if (!fcntl(fd, F_SETFD, FD_CLOEXEC)) return true;
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null >= 0 && null != fd && dup3(null, fd, O_CLOEXEC) == fd) close(null);
  return false;
}

/* 127, 126, 125: the exit codes of `docker exec` and of shells. */
static _Noreturn void give_up(const struct failure *failure) {
  bool in_exec = !strcmp(failure->stage, "exec");
  failure_exit_code = in_exec && failure->number == ENOENT                                    ? 127
                      : in_exec && (failure->number == EACCES || failure->number == ENOEXEC) ? 126
                                                                                              : 125;
  failure_as_line(failure);
}

/* The container's main process by a descriptor that cannot come to mean another one. */
static int open_container(const struct state *state) {
  int pidfd = k_pidfd_open(state->pid);
  if (pidfd < 0 || process_start_time(state->pid) != state->start_time)
    fail_because(ESRCH, "state", "state.json", "executing in the container: it is not running");
  return pidfd;
}

/* Makes the child, in the container's cgroup of version 2 where there is one. */
static int clone_command(const struct cgroups *groups, int container) {
  struct k_clone_args args = {.exit_signal = SIGCHLD};
  int leaf = cgroup_leaf_v2(groups);
  if (leaf >= 0) args.flags = K_CLONE_INTO_CGROUP, args.cgroup = (uint64_t)leaf;
  int pid = k_clone3(&args);
  if (pid >= 0 || leaf < 0 || (errno != EBUSY && errno != EOPNOTSUPP)) return pid;
  /* The container has split its cgroup, and only leaves hold processes: that of its main process will do. */
  char path[64], text[8192], whole[1024];
  snprintf(path, sizeof path, "/proc/%d/cgroup", container);
  char *line = read_file(AT_FDCWD, path, text, sizeof text) > 0 ? strstr(text, "0::") : NULL;
  if (!line) return -1;
  line[strcspn(line, "\n")] = 0;
  for (unsigned i = 0; i < groups->count; i++)
    if (groups->list[i].v2) snprintf(whole, sizeof whole, "%s%s", groups->list[i].mount, line + 3);
  int dir = strncmp(line + 3, groups->path, strlen(groups->path)) ? -1 : open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return -1;
  args.cgroup = (uint64_t)dir;
  return k_clone3(&args);
}

static _Noreturn void run_command(struct process *process, const struct streams *streams, bool terminal, int channel,
                                  const struct cgroups *groups, int pidfd) {
  failure_pipe = channel;
  on_failure = failure_through_pipe;
  launch_tie(channel);
  process_set_oom_score(process);
  process_limit(process);
  cgroup_join_v1(groups);
  /* The cgroup namespace after the cgroups; the pid namespace is that of a child since its parent has joined it. */
  if (setns(pidfd, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP))
    fail("namespace", NULL, "joining the container's namespaces");
  process_resolve_user(process, NULL);
  struct terminal pair = {-1, -1};
  if (setsid() < 0) fail("process", NULL, "making a session");
  if (terminal) {
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    pair = terminal_make(process->json, process->uid, root);
    if (send_fd(channel, pair.master, LAUNCH_TERMINAL)) fail("terminal", NULL, "handing the terminal over");
    terminal_control(&pair);
  } else {
    streams_own(streams, process->uid);
    streams_become(streams);
  }
  process_execute(process);
}

int exec_in(const struct exec_options *options) {
  on_failure = give_up;
  /* The command must not outlive who asked for it. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL)) fail("process", NULL, "tying the process to its caller");
  bool sizes = claim(SIZE_FD);
  failure_line_fd = claim(FAILURE_FD) ? FAILURE_FD : 2;
  int run_dir = run_dir_open(options->run_dir);
  struct state state = state_read(run_dir);
  int pidfd = open_container(&state);
  warnings_directory = run_dir;
  struct process process;
  process_read(&process, json_load(AT_FDCWD, options->process), options->seccomp);
  struct cgroups groups;
  cgroup_find(&groups, state.cgroup);
  cgroup_open(&groups);
  struct relay relay;
  struct streams streams = relay_prepare(&relay, options->terminal);
  int channel[2];
  launch_channel(channel);
  relay_block_signals(&relay);
  if (setns(pidfd, CLONE_NEWPID)) fail("namespace", "pid", "joining the container's pid namespace");
  int pid = clone_command(&groups, state.pid);
  if (pid < 0) fail("process", NULL, "making a process in the container");
  if (!pid) {
    close(channel[0]);
    run_command(&process, &streams, options->terminal, channel[1], &groups, pidfd);
  }
  close(channel[1]);
  streams_close(&streams);
  struct failure failure;
  int master;
  if (!launch_wait(channel[0], &failure, &master)) {
    /* Left to the machine's init, the zombie would hold up the end of the container's pid namespace. */
    waitpid(pid, NULL, 0);
    give_up(&failure);
  }
  close(FAILURE_FD);
  json_free_all();
  return relay_serve(&relay, pid, master, sizes);
}
