#include "relay.h"
#include "failure.h"
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE_FD = 3, INPUT = 0, OUTPUT = 1, ERRORS = 2 };

static bool is_kind(int fd, mode_t kind) {
  struct stat status;
  return !fstat(fd, &status) && (status.st_mode & S_IFMT) == kind;
}

void streams_own(const struct streams *s, uid_t uid) {
  for (int i = 0; i < 3; i++)
    if (uid && is_kind(s->fd[i], S_IFIFO) && fchown(s->fd[i], uid, (gid_t)-1))
      fail("process", NULL, "giving the standard streams to the user %u", uid);
}

void streams_become(const struct streams *s) {
  for (int fd = 0; fd < 3; fd++)
    if (s->fd[fd] != fd && dup2(s->fd[fd], fd) < 0) fail("process", NULL, "setting the standard streams");
}

void streams_close(struct streams *s) {
  for (int i = 0; i < 3; i++)
    if (s->fd[i] > 2) close(s->fd[i]);
}

struct streams relay_prepare(struct relay *relay, bool terminal) {
  struct streams s = {{INPUT, OUTPUT, ERRORS}};
  *relay = (struct relay){{-1, -1, -1}, {-1, -1, -1}, -1, terminal};
  for (int i = 0; i < 3; i++) {
    int ends[2];
    if (terminal) s.fd[i] = -1;
    if (terminal || !is_kind(i, S_IFSOCK)) continue;
    if (pipe2(ends, O_CLOEXEC)) fail("process", NULL, "making a pipe");
    s.fd[i] = i == INPUT ? ends[0] : ends[1];
    relay->from[i] = i == INPUT ? INPUT : ends[0];
    relay->to[i] = i == INPUT ? ends[1] : i;
    fcntl(i == INPUT ? ends[1] : ends[0], F_SETFL, O_NONBLOCK);
  }
  return s;
}

void relay_block_signals(struct relay *relay) {
  static const int passed[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH, SIGALRM, SIGTSTP};
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) sigaddset(&set, passed[i]);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  relay->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (relay->signals < 0) fail("process", NULL, "watching for signals");
}

static bool write_all(int fd, const char *data, size_t length) {
  while (length) {
    ssize_t n = write(fd, data, length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      struct pollfd writable = {.fd = fd, .events = POLLOUT};
      poll(&writable, 1, -1);
      continue;
    }
    if (n < 0) return false;
    data += n;
    length -= (size_t)n;
  }
  return true;
}

static char buffer[64 * 1024];

/* Copies one buffer of an output stream; false at its end or when there is nothing now. */
static bool copy_output(struct relay *relay, int stream) {
  int from = relay->from[stream];
  if (from < 0) return false;
  ssize_t n = read(from, buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n > 0 && write_all(relay->to[stream], buffer, (size_t)n)) return true;
  relay->from[stream] = -1;
  /* The terminal's master is stdin's other end too: only its output is over. */
  if (!relay->terminal) close(from);
  return false;
}

/* stdin is held by what the command takes: at most one buffer is on its way. */
static char held[16 * 1024];
static size_t held_start, held_end;

static void end_input(struct relay *relay) {
  relay->from[INPUT] = -1;
  if (relay->terminal) {
    if (relay->to[INPUT] >= 0 && write(relay->to[INPUT], "\004", 1) < 0) return;
  } else {
    close(relay->to[INPUT]);
    relay->to[INPUT] = -1;
  }
}

static void pass_input(struct relay *relay) {
  if (relay->to[INPUT] < 0) return;
  if (held_start == held_end) {
    ssize_t n = read(relay->from[INPUT], held, sizeof held);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) {
      end_input(relay);
      return;
    }
    held_start = 0;
    held_end = (size_t)n;
  }
  while (held_start < held_end) {
    ssize_t n = write(relay->to[INPUT], held + held_start, held_end - held_start);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      held_start = held_end = 0;
      end_input(relay);
      return;
    }
    held_start += (size_t)n;
  }
}

/* 'R' frames: type, four bytes of length, columns and rows. */
static bool take_size(int master) {
  static unsigned char frame[9];
  static unsigned have;
  ssize_t n = read(SIZE_FD, frame + have, sizeof frame - have);
  if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
  have += (unsigned)n;
  if (have < sizeof frame) return true;
  have = 0;
  if (frame[0] != 'R' || frame[4] != 4) return false;
  terminal_resize(master, (unsigned)frame[5] << 8 | frame[6], (unsigned)frame[7] << 8 | frame[8]);
  return true;
}

/* Takes signals: reaps or passes on. True when the command has ended. */
static bool take_signals(struct relay *relay, pid_t command, int *code) {
  struct signalfd_siginfo info;
  bool ended = false;
  while (read(relay->signals, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGCHLD) {
      kill(command, (int)info.ssi_signo);
      continue;
    }
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid != command) continue;
      *code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      ended = true;
    }
  }
  return ended;
}

int relay_serve(struct relay *relay, pid_t command, int master, bool sizes) {
  int code = 0;
  sizes = sizes && relay->terminal;
  if (relay->terminal) {
    fcntl(master, F_SETFL, O_NONBLOCK);
    relay->from[INPUT] = INPUT;
    relay->to[INPUT] = relay->from[OUTPUT] = master;
    relay->to[OUTPUT] = OUTPUT;
  }
  for (;;) {
    bool waiting = held_start < held_end;
    bool reads_input = relay->from[INPUT] >= 0;
    struct pollfd fds[6] = {
        {relay->signals, POLLIN, 0},
        {reads_input && !waiting ? relay->from[INPUT] : -1, POLLIN, 0},
        {reads_input && waiting ? relay->to[INPUT] : -1, POLLOUT, 0},
        {relay->from[OUTPUT], POLLIN, 0},
        {relay->from[ERRORS], POLLIN, 0},
        {sizes ? SIZE_FD : -1, POLLIN, 0},
    };
    if (poll(fds, 6, -1) < 0) continue;
    if (fds[1].revents || fds[2].revents) pass_input(relay);
    for (int stream = OUTPUT; stream <= ERRORS; stream++)
      if (fds[2 + stream].revents) copy_output(relay, stream);
    if (fds[5].revents && !take_size(master)) sizes = false;
    if (fds[0].revents && take_signals(relay, command, &code)) break;
  }
  /* What it had written before its end; others that still hold the pipes are not waited for. */
  for (int stream = OUTPUT; stream <= ERRORS; stream++)
    while (copy_output(relay, stream)) {
    }
  return code;
}
