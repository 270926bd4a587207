/* Process 1 for programs that do not reap: starts the command, passes signals on, collects the orphans. */
#include "modes.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void start(char **argv, const sigset_t *mask) {
  /* A process group of its own in the foreground, so that Ctrl-C reaches the command once. */
  setpgid(0, 0);
  if (isatty(0)) tcsetpgrp(0, getpgrp());
  signal(SIGTTOU, SIG_DFL);
  signal(SIGTTIN, SIG_DFL);
  sigprocmask(SIG_SETMASK, mask, NULL);
  execvp(argv[0], argv);
  int number = errno;
  dprintf(2, "tsrun: executing \"%s\": %s\n", argv[0], strerror(number));
  _exit(number == ENOENT ? 127 : 126);
}

int reap_as_init(char **argv) {
  sigset_t all, before;
  sigfillset(&all);
  /* Faults of our own must not be blocked. */
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
  sigprocmask(SIG_SETMASK, &all, &before);
  signal(SIGTTOU, SIG_IGN);
  signal(SIGTTIN, SIG_IGN);
  pid_t command = fork();
  if (command < 0) {
    dprintf(2, "tsrun: starting \"%s\": %s\n", argv[0], strerror(errno));
    return 125;
  }
  if (!command) start(argv, &before);
  for (;;) {
    siginfo_t info;
    int signal = sigwaitinfo(&all, &info);
    if (signal < 0) continue;
    if (signal != SIGCHLD) {
      kill(command, signal);
      continue;
    }
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      if (pid == command && !WIFSTOPPED(status)) return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
}
