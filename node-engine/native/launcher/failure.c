#include "failure.h"
#include "json.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void (*on_failure)(const struct failure *);
int warnings_directory = -1;
int failure_pipe = -1;
int failure_line_fd = 1;
int failure_exit_code = 1;

static struct failure failure;

static void begin(int number, const char *stage, const char *path) {
  failure.number = number;
  snprintf(failure.stage, sizeof failure.stage, "%s", stage);
  snprintf(failure.path, sizeof failure.path, "%s", path ? path : "");
}

static _Noreturn void end(void) {
  on_failure(&failure);
  _exit(1);
}

void fail(const char *stage, const char *path, const char *format, ...) {
  begin(errno, stage, path);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(failure.message, sizeof failure.message - 80, format, arguments);
  va_end(arguments);
  size_t length = strlen(failure.message);
  snprintf(failure.message + length, sizeof failure.message - length, ": %s", strerror(failure.number));
  end();
}

void fail_because(int number, const char *stage, const char *path, const char *format, ...) {
  begin(number, stage, path);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(failure.message, sizeof failure.message, format, arguments);
  va_end(arguments);
  end();
}

void warning(const char *format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length < 0) return;
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  int fd = 2;
  if (warnings_directory >= 0)
    fd = openat(warnings_directory, "warnings", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  if (write(fd, line, (size_t)length) < 0) { /* a warning that cannot be kept is dropped */
  }
  if (fd != 2) close(fd);
}

size_t failure_to_json(const struct failure *f, char *out, size_t size) {
  char path[1200], message[1800];
  json_quote(path, sizeof path, f->path);
  json_quote(message, sizeof message, f->message);
  const char *name = strerrorname_np(f->number);
  int length = snprintf(out, size, "{\"error\":{\"stage\":\"%s\",\"path\":%s,\"errno\":\"%s\",\"message\":%s}}\n", f->stage,
                        path, name ? name : "UNKNOWN", message);
  return length < (int)size ? (size_t)length : size - 1;
}

void failure_through_pipe(const struct failure *f) {
  if (write(failure_pipe, f, sizeof *f) < 0) { /* nobody is left to hear it */
  }
  _exit(1);
}

void failure_as_line(const struct failure *f) {
  char line[4096];
  size_t length = failure_to_json(f, line, sizeof line);
  if (write(failure_line_fd, line, length) < 0) { /* nobody is left to hear it */
  }
  _exit(failure_exit_code);
}
