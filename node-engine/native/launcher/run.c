#include "modes.h"
#include "cgroup.h"
#include "failure.h"
#include "json.h"
#include "kernel.h"
#include "launch.h"
#include "lease.h"
#include "mount.h"
#include "namespaces.h"
#include "process.h"
#include "relay.h"
#include "resolve.h"
#include "state.h"
#include "supervisor.h"
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static struct supervised container;
static int report; /* pipe to the caller's process */
static bool cgroups_made;

/* Parts of the runtime specification that would be silently wrong if they were skipped. */
static void refuse_unsupported(const struct json *config) {
  static const char *const in_linux[] = {"uidMappings", "gidMappings", "timeOffsets", "intelRdt", "personality"};
  const struct json *part = json_get(config, "linux");
  for (size_t i = 0; i < sizeof in_linux / sizeof *in_linux; i++) {
    const struct json *value = json_get(part, in_linux[i]);
    if (value && (value->type != JSON_ARRAY || value->count))
      fail_because(EINVAL, "config", in_linux[i], "reading \"config.json\": linux.%s is not supported", in_linux[i]);
  }
  json_each(hook, json_get(config, "hooks"))
    if (hook->count)
      fail_because(EINVAL, "config", hook->key, "reading \"config.json\": hooks.%s is not supported", hook->key);
}

static void send_report(const char *line, size_t length) {
  if (write(report, line, length) < 0) { /* the caller is gone; state.json tells whoever comes */
  }
  close(report);
}

/* The supervisor's own failures: leaves nothing behind, then reports. */
static _Noreturn void abandon(const struct failure *failure) {
  static bool again;
  char line[4096];
  size_t length = failure_to_json(failure, line, sizeof line);
  if (!again) {
    again = true;
    if (container.pid > 0) {
      kill(container.pid, SIGKILL);
      waitpid(container.pid, NULL, 0);
    }
    if (cgroups_made) cgroup_remove(&container.groups);
    unlinkat(container.run_dir, "control.sock", 0);
    unlinkat(container.run_dir, "state.json", 0);
    flock(container.run_dir, LOCK_UN);
  }
  send_report(line, length);
  _exit(1);
}

static void clear_run_dir(void) {
  static const char *const stale[] = {"state.json", "exit.json", "control.sock", "warnings"};
  for (size_t i = 0; i < sizeof stale / sizeof *stale; i++)
    if (unlinkat(container.run_dir, stale[i], 0) && errno != ENOENT)
      fail("state", stale[i], "removing the old \"%s\"", stale[i]);
}

static int null_device(int flags) {
  int fd = open("/dev/null", flags | O_CLOEXEC);
  if (fd < 0) fail("supervisor", "/dev/null", "opening \"/dev/null\"");
  return fd;
}

static void detach_from_caller(void) {
  if (setsid() < 0) fail("supervisor", NULL, "making a session");
  int null = null_device(O_RDWR);
  for (int fd = 0; fd < 3; fd++)
    if (dup2(null, fd) < 0) fail("supervisor", NULL, "letting go of the caller's streams");
  close(null);
  /* Whatever the caller leaked into us: only the report and the run directory stay. */
  int keep[2] = {report < container.run_dir ? report : container.run_dir, report < container.run_dir ? container.run_dir : report};
  if (keep[0] > 3) k_close_range(3, (unsigned)keep[0] - 1, 0);
  if (keep[1] > keep[0] + 1) k_close_range((unsigned)keep[0] + 1, (unsigned)keep[1] - 1, 0);
  k_close_range((unsigned)keep[1] + 1, ~0u, 0);
  if (chdir("/")) fail("supervisor", "/", "entering \"/\"");
  umask(0077);
  prctl(PR_SET_NAME, "tsrun-sup");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  /* Not the first one to be killed when memory runs out; lowering needs a right that is not everywhere. */
  if (write_file(AT_FDCWD, "/proc/self/oom_score_adj", "-999")) errno = 0;
}

static struct streams make_streams(bool with_stdin, bool terminal) {
  struct streams s = {{-1, -1, -1}};
  container.input = container.output[0] = container.output[1] = -1;
  container.terminal = terminal;
  if (terminal) return s;
  int ends[2];
  if (!with_stdin) {
    s.fd[0] = null_device(O_RDONLY);
  } else {
    if (pipe2(ends, O_CLOEXEC)) fail("supervisor", NULL, "making a pipe");
    s.fd[0] = ends[0];
    container.input = ends[1];
  }
  for (int i = 0; i < 2; i++) {
    if (pipe2(ends, O_CLOEXEC)) fail("supervisor", NULL, "making a pipe");
    container.output[i] = ends[0];
    s.fd[i + 1] = ends[1];
  }
  return s;
}

static _Noreturn void run_container(const struct json *config, const struct namespaces *namespaces, struct process *process,
                                    const struct streams *streams, int channel, const struct run_options *options) {
  failure_pipe = channel;
  on_failure = failure_through_pipe;
  launch_tie(channel);
  process_set_oom_score(process);
  cgroup_join_v1(&container.groups);
  process_limit(process);
  namespaces_enter(namespaces, config);
  umask(0);
  int root = mount_root(config, options->bundle, &container.groups);
  struct terminal terminal = {-1, -1};
  if (container.terminal) {
    uid_t uid = process->uid;
    terminal = terminal_make(process->json, uid, root);
    terminal_bind_console(&terminal, root);
  }
  sysctl_write(config, namespaces);
  mount_pivot(root, !options->no_pivot);
  process_resolve_user(process, json_get(config, "annotations"));
  process_make_cwd(process);
  mount_protect_paths(json_get(config, "linux"));
  mount_finish_root(config);
  if (setsid() < 0) fail("process", NULL, "making a session");
  if (container.terminal) {
    if (fchown(terminal.slave, process->uid, (gid_t)-1)) fail("terminal", NULL, "giving the terminal to the user %u", process->uid);
    if (send_fd(channel, terminal.master, LAUNCH_TERMINAL)) fail("terminal", NULL, "handing the terminal to the supervisor");
    terminal_control(&terminal);
  } else {
    streams_own(streams, process->uid);
    streams_become(streams);
  }
  process_execute(process);
}

static void into_cgroup(struct k_clone_args *args, int cgroup) {
  if (cgroup < 0) return;
  args->flags |= K_CLONE_INTO_CGROUP;
  args->cgroup = (uint64_t)cgroup;
}

static void clone_container(const struct json *config, const struct namespaces *namespaces, struct process *process,
                            struct streams *streams, const struct run_options *options) {
  int channel[2];
  launch_channel(channel);
  if (namespaces->join_pid >= 0 && setns(namespaces->join_pid, CLONE_NEWPID))
    fail("namespace", "pid", "joining the pid namespace");
  struct k_clone_args args = {.flags = namespaces->clone_flags | CLONE_PIDFD,
                              .pidfd = (uint64_t)(uintptr_t)&container.pidfd,
                              .exit_signal = SIGCHLD};
  into_cgroup(&args, cgroup_leaf_v2(&container.groups));
  container.pid = k_clone3(&args);
  if (container.pid < 0) fail("namespace", NULL, "making the container's namespaces");
  if (!container.pid) {
    close(channel[0]);
    run_container(config, namespaces, process, streams, channel[1], options);
  }
  close(channel[1]);
  streams_close(streams);
  struct failure failure;
  int master;
  if (!launch_wait(channel[0], &failure, &master)) {
    if (failure.number == ECHILD && cgroup_oom_kills(&container.groups) > container.oom_before)
      snprintf(failure.message, sizeof failure.message, "setting the process up: its memory limit is too small for that");
    abandon(&failure);
  }
  close(channel[0]);
  if (container.terminal) {
    container.input = container.output[0] = master;
    /* One slave of our own keeps the terminal from hanging up while no process has it open. */
    if (master >= 0 && ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC) < 0)
      warning("the terminal cannot be kept open: %s", strerror(errno));
  }
}

static _Noreturn void run_supervisor(const struct run_options *options, const struct json *config) {
  on_failure = abandon;
  detach_from_caller();
  clear_run_dir();
  warnings_directory = container.run_dir;
  struct namespaces namespaces;
  namespaces_read(config, &namespaces);
  struct process process;
  process_read(&process, json_get(config, "process"), options->seccomp);
  const struct json *part = json_get(config, "linux");
  log_open(&container.log, options->log, options->log_max_size, options->log_max_files);
  struct streams streams = make_streams(options->with_stdin, json_true(process.json, "terminal"));
  container.lease = options->lease ? lease_open(options->lease) : -1;
  if (container.lease >= 0) {
    if (lease_is_over(container.lease))
      fail_because(ETIME, "lease", options->lease, "starting the container: the node's lease is over, no manager was heard of in time");
    container.lease_timer = lease_timer(container.lease);
  }
  cgroups_made = true;
  cgroup_make(&container.groups);
  cgroup_limit(&container.groups, json_get(part, "resources"));
  cgroup_join_parent_v1(&container.groups);
  container.oom_before = cgroup_oom_kills(&container.groups);
  container.listener = control_listen(container.run_dir);
  supervise_block_signals();
  clone_container(config, &namespaces, &process, &streams, options);
  struct state state = {container.pid, process_start_time(container.pid), getpid(), process_start_time(getpid()), ""};
  snprintf(state.cgroup, sizeof state.cgroup, "%s", container.groups.path);
  state_write(container.run_dir, &state);
  char line[128];
  int length = snprintf(line, sizeof line, "{\"pid\":%d,\"startTime\":\"%llu\"}\n", state.pid, (unsigned long long)state.start_time);
  send_report(line, (size_t)length);
  for (unsigned i = 0; i < namespaces.join_count; i++) close(namespaces.join[i]);
  json_free_all();
  supervise(&container);
}

int run(const struct run_options *options) {
  on_failure = failure_as_line;
  container.run_dir = run_dir_open(options->run_dir);
  if (flock(container.run_dir, LOCK_EX | LOCK_NB))
    fail_because(EBUSY, "state", options->run_dir, "starting the container: another supervisor holds \"%s\"", options->run_dir);
  int bundle = open(options->bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (bundle < 0) fail("config", options->bundle, "opening the bundle \"%s\"", options->bundle);
  const struct json *config = json_load(bundle, "config.json");
  refuse_unsupported(config);
  const char *path = json_string(json_get(config, "linux"), "cgroupsPath");
  cgroup_find(&container.groups, path ? path : "");
  int ends[2];
  if (pipe2(ends, O_CLOEXEC)) fail("supervisor", NULL, "making a pipe");
  /* The supervisor begins outside the caller's cgroup: who stops the caller's service must not end the containers. */
  struct k_clone_args args = {.exit_signal = SIGCHLD};
  into_cgroup(&args, cgroup_supervisor_v2(&container.groups));
  int pid = k_clone3(&args);
  if (pid < 0) fail("supervisor", NULL, "making the supervisor");
  if (!pid) {
    close(ends[0]);
    report = ends[1];
    run_supervisor(options, config);
  }
  close(ends[1]);
  char line[4096];
  size_t length = 0;
  ssize_t n;
  while (length < sizeof line && (n = read(ends[0], line + length, sizeof line - length)) != 0) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    length += (size_t)n;
  }
  if (!length) fail_because(ECHILD, "supervisor", NULL, "starting the container: the supervisor died");
  if (write(1, line, length) < 0) return 1;
  return strncmp(line, "{\"pid\"", 6) ? 1 : 0;
}
