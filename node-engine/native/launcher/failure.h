/* Errors and warnings: one failure ends the launch, and says at which stage, on what path, with which kernel error. */
#pragma once
#include <stddef.h>

struct failure {
  int number; /* errno */
  char stage[16];
  char path[512];
  char message[768];
};

/* What to do with the failure of this process; never returns. Each mode of the program sets it first. */
extern void (*on_failure)(const struct failure *failure);

/* Ends the launch with errno. `format` names the action with its value in quotes: mounting "/x". `path` may be NULL. */
_Noreturn void fail(const char *stage, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with an error number of our own choice and no kernel text after the message. */
_Noreturn void fail_because(int number, const char *stage, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Where `warnings` is appended: a directory fd, or -1 for stderr. */
extern int warnings_directory;
/* Notes something that was asked for and cannot be honoured here, without failing. */
void warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes `{"error":{…}}` with a newline into `out`; returns the length. */
size_t failure_to_json(const struct failure *failure, char *out, size_t size);
/* Sends the whole struct through a pipe or socket and ends the process: for a child whose parent reports. */
extern int failure_pipe;
_Noreturn void failure_through_pipe(const struct failure *failure);
/* Prints the JSON line on `failure_line_fd` and ends the process with `failure_exit_code`. */
extern int failure_line_fd;
extern int failure_exit_code;
_Noreturn void failure_as_line(const struct failure *failure);
