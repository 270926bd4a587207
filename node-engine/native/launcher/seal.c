#include "failure.h"
#include "kernel.h"
#include "modes.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define PROGRAM "/proc/self/exe"
enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

/* In the sealed copy: which file it was made from, as "device:inode". */
#define ORIGIN "TSRUN_SEALED_FROM"

static void describe(char *out, size_t size, const struct stat *status) {
  snprintf(out, size, "%llu:%llu", (unsigned long long)status->st_dev, (unsigned long long)status->st_ino);
}

bool sealed_from(const struct stat *status) {
  char text[64];
  const char *origin = getenv(ORIGIN);
  describe(text, sizeof text, status);
  return origin && !strcmp(origin, text);
}

void copy_whole(int from, int to, off_t size) {
  while (size > 0) {
    ssize_t n = sendfile(to, from, NULL, (size_t)size);
    if (n <= 0) fail("supervisor", NULL, "copying the launcher");
    size -= n;
  }
}

static _Noreturn void continue_from(int fd, char **argv) {
  extern char **environ;
  syscall(SYS_execveat, fd, "", argv, environ, K_AT_EMPTY_PATH);
  fail("supervisor", NULL, "executing the protected copy of the launcher");
}

/* A clone of the mount that holds us, read-only and attached nowhere: whoever opens /proc/PID/exe comes through it. */
static int read_only_clone(void) {
  struct k_mount_attr attr = {.set = K_ATTR_RDONLY | K_ATTR_NOSUID};
  int fd = k_open_tree(AT_FDCWD, PROGRAM, K_OPEN_TREE_CLONE | O_CLOEXEC);
  if (fd < 0 || k_mount_setattr(fd, "", K_AT_EMPTY_PATH, &attr)) return -1;
  return fd;
}

static int sealed_copy(void) {
  int from = open(PROGRAM, O_RDONLY | O_CLOEXEC), to = memfd_create("tsrun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  struct stat status;
  if (from < 0 || to < 0 || fstat(from, &status)) fail("supervisor", NULL, "copying the launcher to memory");
  copy_whole(from, to, status.st_size);
  char origin[64];
  describe(origin, sizeof origin, &status);
  setenv(ORIGIN, origin, 1);
  if (fcntl(to, F_ADD_SEALS, SEALS)) fail("supervisor", NULL, "sealing the launcher's copy");
  close(from);
  return to;
}

void seal_program(char **argv, bool strict) {
  int self = open(PROGRAM, O_RDONLY | O_CLOEXEC);
  struct statvfs status;
  if (self < 0 || fstatvfs(self, &status)) fail("supervisor", NULL, "looking at the launcher's own file");
  bool in_memory = fcntl(self, F_GET_SEALS) == SEALS, read_only = status.f_flag & ST_RDONLY;
  close(self);
  if (in_memory || (read_only && !strict)) return;
  int clone = strict ? -1 : read_only_clone();
  continue_from(clone >= 0 ? clone : sealed_copy(), argv);
}
