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
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { SIZE_FD = 3, FAILURE_FD = 4 };

/* Where a failure before the command is told: FAILURE_FD when the caller gave it. */
static int told = 2;

/* Descriptors that the caller did not give are filled, so that nothing of ours is taken for them. */
static void keep_descriptors(void) {
  if (fcntl(FAILURE_FD, F_GETFD) >= 0) told = FAILURE_FD;
  for (int fd = 0; fd <= FAILURE_FD; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    int null = open("/dev/null", O_RDWR);
    if (null != fd && (null < 0 || dup2(null, fd) < 0)) fail("process", NULL, "filling the descriptor %d", fd);
  }
  for (int fd = SIZE_FD; fd <= FAILURE_FD; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* 127, 126, 125: the exit codes of `docker exec` and of shells. */
static _Noreturn void give_up(const struct failure *failure) {
  bool in_exec = !strcmp(failure->stage, "exec");
  failure_exit_code = in_exec && failure->number == ENOENT                                    ? 127
                      : in_exec && (failure->number == EACCES || failure->number == ENOEXEC) ? 126
                                                                                              : 125;
  failure_line_fd = told;
  failure_as_line(failure);
}

/* The container's main process by a descriptor that cannot come to mean another one. */
static int open_container(const struct state *state) {
  int pidfd = k_pidfd_open(state->pid);
  if (pidfd < 0 || process_start_time(state->pid) != state->start_time)
    fail_because(ESRCH, "state", "state.json", "executing in the container: it is not running");
  return pidfd;
}

/* The container may have split its cgroup (version 2): its main process's own is then where one can be. */
static void join_cgroups(struct cgroups *groups, int pid) {
  char path[64], text[8192];
  snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
  for (unsigned i = 0; i < groups->count; i++) {
    const struct hierarchy *h = &groups->list[i];
    if (h->leaf < 0) fail_because(ESRCH, "cgroup", groups->path, "joining the cgroup \"%s%s\": it is gone", h->mount, groups->path);
    if (!write_file(h->leaf, "cgroup.procs", "0")) continue;
    int kept = errno;
    char *line = NULL, whole[1024];
    if (h->v2 && read_file(AT_FDCWD, path, text, sizeof text) > 0) line = strstr(text, "0::");
    if (line) {
      line[strcspn(line, "\n")] = 0;
      snprintf(whole, sizeof whole, "%s%s/cgroup.procs", h->mount, line + 3);
      if (strncmp(line + 3, groups->path, strlen(groups->path)) == 0 && !write_file(AT_FDCWD, whole, "0")) continue;
    }
    errno = kept;
    fail("cgroup", groups->path, "joining the cgroup \"%s%s\"", h->mount, groups->path);
  }
}

static void enter_namespaces(int pidfd) {
  int all = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;
  if (setns(pidfd, all)) fail("namespace", NULL, "joining the container's namespaces");
}

static _Noreturn void run_command(struct process *process, const struct streams *streams, bool terminal, int channel) {
  failure_pipe = channel;
  on_failure = failure_through_pipe;
  launch_tie(channel);
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
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  keep_descriptors();
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
  /* The command's pid as it is called out here; the helper says it. */
  volatile pid_t *command = mmap(NULL, sizeof *command, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (command == MAP_FAILED) fail("process", NULL, "mapping memory");
  /* A helper in between, so that this process itself stays in the caller's cgroups and namespaces. */
  pid_t pid = fork();
  if (pid < 0) fail("process", NULL, "making a process");
  if (!pid) {
    close(channel[0]);
    on_failure = failure_through_pipe;
    failure_pipe = channel[1];
    launch_tie(channel[1]);
    process_set_oom_score(&process);
    process_limit(&process);
    join_cgroups(&groups, state.pid);
    enter_namespaces(pidfd);
    /* CLONE_PARENT: the command becomes a child of the process outside, in the container's pid namespace. */
    struct k_clone_args args = {.flags = CLONE_PARENT};
    int child = k_clone3(&args);
    if (child < 0) fail("process", NULL, "making a process in the container");
    if (child) {
      *command = child;
      _exit(0);
    }
    run_command(&process, &streams, options->terminal, channel[1]);
  }
  close(channel[1]);
  streams_close(&streams);
  struct failure failure;
  int master;
  if (!launch_wait(channel[0], &failure, &master)) give_up(&failure);
  /* The end of this descriptor says that the command runs. */
  close(FAILURE_FD);
  json_free_all();
  return relay_serve(&relay, pid, *command, master);
}
