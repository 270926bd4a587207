#include "resolve.h"
#include "kernel.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

int resolve_open(int root, const char *path, int flags) {
  uint64_t mode = flags & O_CREAT ? 0666 : 0;
  for (int attempt = 0;; attempt++) {
    int fd = k_openat2(root, path, (uint64_t)(flags | O_CLOEXEC), mode, K_RESOLVE_IN_ROOT | K_RESOLVE_NO_MAGICLINKS);
    /* EAGAIN: a rename elsewhere raced with "..": the kernel asks to try again. */
    if (fd >= 0 || errno != EAGAIN || attempt > 100) return fd;
  }
}

/* Makes the last component of path[0..length) when it is missing. Returns an fd, or -1; a dangling link's text goes to `link`. */
static int open_or_make(int root, const char *prefix, bool directory, char *link, size_t size) {
  int fd = resolve_open(root, prefix, O_PATH);
  link[0] = 0;
  if (fd >= 0 || errno != ENOENT) return fd;
  char parent[PATH_MAX];
  snprintf(parent, sizeof parent, "%s", prefix);
  char *slash = strrchr(parent, '/');
  const char *name = prefix + (slash - parent) + 1;
  *slash = 0;
  int dir = resolve_open(root, parent[0] ? parent : "/", O_PATH | O_DIRECTORY);
  if (dir < 0) return -1;
  int made;
  if (directory) made = mkdirat(dir, name, 0755);
  else made = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (made >= 0) {
    if (!directory) {
      fsetxattr(made, MOUNT_POINT_MARK, "", 0, 0);
      close(made);
    }
    fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  } else if (errno == EEXIST) {
    ssize_t n = readlinkat(dir, name, link, size - 1);
    if (n >= 0) link[n] = 0;
    else fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC); /* somebody else made it meanwhile */
  }
  int kept = errno;
  close(dir);
  errno = kept;
  return fd;
}

int resolve_create(int root, const char *path, bool directory) {
  int fd = resolve_open(root, path, O_PATH);
  if (fd >= 0 || errno != ENOENT) return fd;
  char rest[PATH_MAX], done[PATH_MAX] = "";
  snprintf(rest, sizeof rest, "%s", path);
  for (int links = 0; links < 40;) {
    char *at = rest + strspn(rest, "/");
    size_t length = strcspn(at, "/");
    if (!length) return resolve_open(root, done[0] ? done : "/", O_PATH);
    char *after = at + length;
    bool last = after[strspn(after, "/")] == 0;
    size_t before = strlen(done);
    if (before + length + 2 > sizeof done) {
      errno = ENAMETOOLONG;
      return -1;
    }
    done[before] = '/';
    memcpy(done + before + 1, at, length);
    done[before + 1 + length] = 0;
    char link[PATH_MAX];
    fd = open_or_make(root, done, !last || directory, link, sizeof link);
    if (fd < 0 && link[0]) {
      /* A link to something that does not exist yet: go on with its text, as a lookup in the container would. */
      char joined[PATH_MAX];
      int n = snprintf(joined, sizeof joined, "%s%s", link, after);
      if (n >= (int)sizeof joined) {
        errno = ENAMETOOLONG;
        return -1;
      }
      done[link[0] == '/' ? 0 : before] = 0;
      memcpy(rest, joined, (size_t)n + 1);
      links++;
      continue;
    }
    if (fd < 0 || last) return fd;
    close(fd);
    memmove(rest, after, strlen(after) + 1);
  }
  errno = ELOOP;
  return -1;
}

int write_file(int dir, const char *path, const char *value) {
  int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t length = strlen(value);
  ssize_t n = write(fd, value, length);
  int kept = errno;
  close(fd);
  errno = kept;
  return n == (ssize_t)length ? 0 : -1;
}

ssize_t read_file(int dir, const char *path, char *out, size_t size) {
  int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t length = 0;
  ssize_t n;
  while (length < size - 1 && (n = read(fd, out + length, size - 1 - length)) > 0) length += (size_t)n;
  close(fd);
  out[length] = 0;
  return (ssize_t)length;
}

uint64_t process_start_time(int pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  if (read_file(AT_FDCWD, path, text, sizeof text) <= 0) return 0;
  char *at = strrchr(text, ')'); /* the command in front may hold spaces and parentheses */
  for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
  return at ? strtoull(at + 1, NULL, 10) : 0;
}
