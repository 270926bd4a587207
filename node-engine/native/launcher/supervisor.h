/* The process that stays with a container: its streams, its log, its control socket, its end. */
#pragma once
#include "cgroup.h"
#include "log-file.h"
#include <signal.h>
#include <stdbool.h>

struct supervised {
  int pid, pidfd;
  int run_dir, listener;
  int input;     /* write end of stdin's pipe, or the terminal's master; -1: closed */
  int output[2]; /* read ends of stdout and stderr; with a terminal [0] is the master and [1] is -1 */
  bool terminal;
  struct log_file log;
  struct cgroups groups;
  unsigned long oom_before;
  int lease, lease_timer; /* -1: it is tied to none */
  bool lease_over;        /* it was killed for that */
};

/* Serves until the main process has ended and everything of it is gone; then exits. */
_Noreturn void supervise(struct supervised *container);
/* Blocks the signals that the loop takes from a signalfd. Called before the clone. */
void supervise_block_signals(void);

/* control.c: the clients of control.sock. */
int control_listen(int run_dir);
void control_accept(struct supervised *container);
/* A client's socket is readable or writable. */
void control_serve(struct supervised *container, unsigned index, unsigned events);
/* Hands output to the attached clients. */
void control_output(int stream, const char *data, size_t length);
/* Writes held-back stdin bytes to the container, and lets the clients go on when there is room again. */
void control_feed(struct supervised *container);
/* Announces the end, gives slow clients a moment to take what is theirs, and closes. */
void control_finish(int code, bool oom_killed);

/* What an epoll event belongs to. */
enum { EVENT_SIGNAL, EVENT_STDOUT, EVENT_STDERR, EVENT_STDIN, EVENT_LISTENER, EVENT_LEASE, EVENT_CLIENT };
void watch(int fd, unsigned events, unsigned what);
void watch_change(int fd, unsigned events, unsigned what);
