#include "supervisor.h"
#include "failure.h"
#include "lease.h"
#include "state.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUFFER = 64 * 1024 };
static char buffer[BUFFER];
static int epoll = -1;

void watch(int fd, unsigned events, unsigned what) {
  struct epoll_event event = {events, {.u32 = what}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

void watch_change(int fd, unsigned events, unsigned what) {
  struct epoll_event event = {events, {.u32 = what}};
  epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
}

static void close_output(struct supervised *c, int stream) {
  if (c->terminal && c->input == c->output[stream]) c->input = -1;
  close(c->output[stream]);
  c->output[stream] = -1;
}

/* Takes one buffer of a stream. False when there is nothing now. */
static bool take_output(struct supervised *c, int stream) {
  if (c->output[stream] < 0) return false;
  ssize_t n = read(c->output[stream], buffer, sizeof buffer);
  if (n > 0) {
    log_write(&c->log, stream, buffer, (size_t)n);
    control_output(stream, buffer, (size_t)n);
    return true;
  }
  if (n < 0 && errno == EINTR) return true;
  if (n < 0 && errno == EAGAIN) return false;
  close_output(c, stream);
  return false;
}

/* Reaps every child that has ended; whether the main process was among them. */
static bool reap(struct supervised *c, int *status) {
  bool ended = false;
  int one;
  for (pid_t pid; (pid = waitpid(-1, &one, WNOHANG)) > 0;) {
    if (pid != c->pid) continue;
    *status = one;
    ended = true;
  }
  return ended;
}

static _Noreturn void finish(struct supervised *c, int status) {
  int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  int code = signal ? 128 + signal : WEXITSTATUS(status);
  close(c->pidfd);
  c->pidfd = -1;
  /* With a pid namespace the kernel has killed the rest already; without one we do. */
  cgroup_kill(&c->groups);
  for (int stream = 0; stream < 2; stream++)
    while (take_output(c, stream)) {
    }
  log_finish(&c->log);
  bool oom = cgroup_oom_kills(&c->groups) > c->oom_before;
  if (!cgroup_remove(&c->groups)) warning("the cgroup \"%s\" cannot be removed", c->groups.path);
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
  exit_write(c->run_dir, code, signal, oom, c->lease_over);
  /* All is gone before it is announced: who hears of the end may start the container again at once. */
  unlinkat(c->run_dir, "control.sock", 0);
  close(c->listener);
  flock(c->run_dir, LOCK_UN);
  close(c->run_dir);
  control_finish(code, oom);
  _exit(0);
}

/* Kills everything once the lease is over. The end comes as any other: by the death of the main process. */
static void look_at_lease(struct supervised *c) {
  uint64_t expirations;
  while (read(c->lease_timer, &expirations, sizeof expirations) > 0) {
  }
  if (lease_is_over(c->lease)) {
    c->lease_over = true;
    if (c->pidfd >= 0) kill(c->pid, SIGKILL);
    cgroup_kill(&c->groups);
  }
  lease_watch(c->lease_timer, c->lease);
}

void supervise_block_signals(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_SETMASK, &signals, NULL);
  /* The machine's shutdown ends the container's processes by themselves; the supervisor stays to tell how. */
  static const int ignored[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU};
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) sigaction(ignored[i], &ignore, NULL);
}

void supervise(struct supervised *c) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  int children = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (children < 0 || epoll < 0) _exit(1);
  watch(children, EPOLLIN, EVENT_SIGNAL);
  watch(c->listener, EPOLLIN, EVENT_LISTENER);
  if (c->lease >= 0) watch(c->lease_timer, EPOLLIN, EVENT_LEASE);
  for (int stream = 0; stream < 2; stream++)
    if (c->output[stream] >= 0) {
      fcntl(c->output[stream], F_SETFL, O_NONBLOCK);
      watch(c->output[stream], EPOLLIN, EVENT_STDOUT + (unsigned)stream);
    }
  if (c->input >= 0 && !c->terminal) {
    fcntl(c->input, F_SETFL, O_NONBLOCK);
    watch(c->input, 0, EVENT_STDIN);
  }
  for (;;) {
    struct epoll_event events[16];
    int count = epoll_wait(epoll, events, 16, -1), status = 0;
    bool ended = false;
    for (int i = 0; i < count; i++) {
      unsigned what = events[i].data.u32;
      if (what == EVENT_SIGNAL) {
        struct signalfd_siginfo info;
        while (read(children, &info, sizeof info) == sizeof info) {
        }
        ended |= reap(c, &status);
      } else if (what == EVENT_STDOUT || what == EVENT_STDERR) {
        if (events[i].events & EPOLLOUT) control_feed(c);
        if (events[i].events & ~(unsigned)EPOLLOUT) take_output(c, (int)(what - EVENT_STDOUT));
      } else if (what == EVENT_STDIN) {
        control_feed(c);
      } else if (what == EVENT_LEASE) {
        look_at_lease(c);
      } else if (what == EVENT_LISTENER) {
        control_accept(c);
      } else {
        control_serve(c, what - EVENT_CLIENT, events[i].events);
      }
    }
    if (ended) finish(c, status);
  }
}
