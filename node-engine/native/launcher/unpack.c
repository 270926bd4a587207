#include "archive.h"
#include "failure.h"
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Directories whose times are set at the end: what comes into them changes them. */
struct dated {
  int fd;
  int64_t mtime;
};

/* The parts of a name that count; NULL for a name that leads out of where it belongs. */
static char *clean(const char *name, char *out, size_t size) {
  size_t length = 0;
  for (const char *at = name; *at;) {
    size_t part = strcspn(at, "/");
    if (part == 2 && !strncmp(at, "..", 2)) return NULL;
    if (part && !(part == 1 && *at == '.')) {
      if (length + part + 2 > size) return NULL;
      if (length) out[length++] = '/';
      memcpy(out + length, at, part);
      length += part;
    }
    at += part;
    at += strspn(at, "/");
  }
  out[length] = 0;
  return out;
}

/* A name below the folder, as a path from the root. Links on the way lead where they lead in the container. */
static void join(char *out, size_t size, const char *folder, const char *name) {
  if (snprintf(out, size, "%s/%s", folder, name) >= (int)size)
    fail_because(ENAMETOOLONG, "archive", NULL, "writing files: the name \"%.200s\" is too long", name);
}

/* The folder that a name is in, made where it is missing. Returns its descriptor; `last` is the name in it. */
static int open_parent(int root, const char *folder, char *name, const char **last) {
  char path[PATH_MAX];
  char *slash = strrchr(name, '/');
  *last = slash ? slash + 1 : name;
  if (!slash) snprintf(path, sizeof path, "%s", folder);
  else {
    *slash = 0;
    join(path, sizeof path, folder, name);
    *slash = '/';
  }
  int fd = resolve_create(root, path, true);
  struct stat s;
  if (fd >= 0 && !fstat(fd, &s) && !S_ISDIR(s.st_mode)) errno = ENOTDIR, close(fd), fd = -1;
  if (fd < 0) fail("archive", path, "opening the folder \"%s\"", path);
  return fd;
}

static void own(int fd, const char *name, const struct tar_entry *e, bool owners) {
  if (owners && fchownat(fd, name, (uid_t)e->uid, (gid_t)e->gid, AT_SYMLINK_NOFOLLOW | (name[0] ? 0 : AT_EMPTY_PATH)))
    fail("archive", e->name, "giving \"%s\" its owner", e->name);
}

/* Capabilities of a program come with its owner, or not at all: anybody could use them. After the owner, whose change takes them away. */
static void mark(int fd, const struct tar_entry *e, bool owners) {
  const void *value;
  size_t length, at = 0;
  for (const char *name; (name = tar_next_xattr(e, &at, &value, &length));) {
    if (!owners && strncmp(name, "user.", 5)) continue;
    if (!fsetxattr(fd, name, value, length, 0)) continue;
    /* A file system that has none keeps the file all the same, as cp(1) has it. */
    if (errno != ENOTSUP && errno != EPERM) fail("archive", e->name, "giving \"%s\" its attribute \"%s\"", e->name, name);
  }
}

static struct timespec *times(int64_t mtime) {
  static struct timespec both[2];
  both[0].tv_nsec = UTIME_OMIT;
  both[1].tv_sec = mtime;
  return both;
}

/* Takes away what is in the way of a file; a directory stays, and refuses. True: a file that can only be written over is left. */
static bool make_room(int dir, const char *last, const struct tar_entry *e) {
  struct stat s;
  if (fstatat(dir, last, &s, AT_SYMLINK_NOFOLLOW)) return false;
  if (S_ISDIR(s.st_mode))
    fail_because(EISDIR, "archive", e->name, "writing \"%s\": there is a directory of that name", e->name);
  if (!unlinkat(dir, last, 0)) return false;
  /* Something is mounted there, as on /etc/hosts. */
  if (errno == EBUSY && S_ISREG(s.st_mode) && e->type == '0') return true;
  fail("archive", e->name, "replacing \"%s\"", e->name);
}

static int64_t write_content(int dir, const char *last, const struct tar_entry *e, bool over, bool owners) {
  static char piece[64 * 1024];
  int flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (over ? O_TRUNC : O_CREAT | O_EXCL);
  int fd = openat(dir, last, flags, 0600);
  if (fd < 0) fail("archive", e->name, "writing \"%s\"", e->name);
  int64_t done = 0;
  for (size_t n; (n = tar_read(piece, sizeof piece)); done += (int64_t)n)
    for (size_t at = 0; at < n;) {
      ssize_t written = write(fd, piece + at, n - at);
      if (written < 0 && errno != EINTR) fail("archive", e->name, "writing \"%s\"", e->name);
      if (written > 0) at += (size_t)written;
    }
  if (!over) {
    own(fd, "", e, owners);
    if (fchmod(fd, e->mode)) fail("archive", e->name, "giving \"%s\" its mode", e->name);
    mark(fd, e, owners);
  }
  futimens(fd, times(e->mtime));
  if (close(fd)) fail("archive", e->name, "writing \"%s\"", e->name);
  return done;
}

/* Returns the directory, to be dated later; the mode of the folder itself, which was there before, is not ours to change. */
static int make_directory(int root, int dir, const char *last, const char *path, const struct tar_entry *e, bool owners) {
  bool made = !mkdirat(dir, last, 0700);
  if (!made && errno != EEXIST) fail("archive", e->name, "making the directory \"%s\"", e->name);
  /* A link to a directory is one, too, as in the container. */
  int fd = made ? openat(dir, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : resolve_open(root, path, O_RDONLY | O_DIRECTORY);
  if (fd < 0 && errno == ENOTDIR)
    fail_because(ENOTDIR, "archive", e->name, "making the directory \"%s\": there is a file of that name", e->name);
  if (fd < 0) fail("archive", e->name, "opening the directory \"%s\"", e->name);
  own(fd, "", e, owners);
  if (fchmod(fd, e->mode)) fail("archive", e->name, "giving \"%s\" its mode", e->name);
  mark(fd, e, owners);
  return fd;
}

static void make_link(int root, const char *folder, int dir, const char *last, const struct tar_entry *e) {
  char target[8192], path[PATH_MAX];
  if (!clean(e->link, target, sizeof target))
    fail_because(EINVAL, "archive", e->name, "linking \"%s\": \"%s\" leads out of the archive", e->name, e->link);
  const char *target_last;
  int from = open_parent(root, folder, target, &target_last);
  join(path, sizeof path, folder, target);
  if (linkat(from, target_last, dir, last, 0)) fail("archive", e->name, "linking \"%s\" to \"%s\"", e->name, path);
  close(from);
}

int archive_unpack_below(int root, const char *folder, bool owners) {
  static struct tar_entry e;
  struct dated *dated = NULL;
  size_t count = 0;
  int64_t bytes = 0;
  umask(0);
  while (tar_read_header(&e)) {
    char name[8192], path[PATH_MAX];
    if (!clean(e.name, name, sizeof name))
      fail_because(EINVAL, "archive", e.name, "reading the archive: the name \"%.200s\" leads out of it", e.name);
    if (!name[0]) continue; /* the folder itself */
    const char *last;
    int dir = open_parent(root, folder, name, &last);
    join(path, sizeof path, folder, name);
    bool over = e.type != '5' && make_room(dir, last, &e);
    dev_t device = makedev(e.major, e.minor);
    switch (e.type) {
    case '0': bytes += write_content(dir, last, &e, over, owners); break;
    case '1': make_link(root, folder, dir, last, &e); break;
    case '2':
      if (symlinkat(e.link, dir, last)) fail("archive", e.name, "making the link \"%s\"", e.name);
      own(dir, last, &e, owners);
      utimensat(dir, last, times(e.mtime), AT_SYMLINK_NOFOLLOW);
      break;
    case '3':
    case '4':
    case '6':
      if (mknodat(dir, last, (e.type == '6' ? S_IFIFO : e.type == '3' ? S_IFCHR : S_IFBLK) | e.mode, e.type == '6' ? 0 : device))
        fail("archive", e.name, "making the special file \"%s\"", e.name);
      own(dir, last, &e, owners);
      break;
    case '5': {
      int fd = make_directory(root, dir, last, path, &e, owners);
      /* A descriptor each: beyond some hundreds the rest go without. */
      if (count < 512) {
        dated = realloc(dated, (count + 1) * sizeof *dated);
        if (!dated) fail("archive", NULL, "remembering directories");
        dated[count++] = (struct dated){fd, e.mtime};
      } else close(fd);
      break;
    }
    default: fail_because(ENOTSUP, "archive", e.name, "reading the archive: \"%s\" is of the type \"%c\", which is not supported", e.name, e.type);
    }
    close(dir);
  }
  tar_drain();
  while (count--) futimens(dated[count].fd, times(dated[count].mtime));
  printf("{\"bytes\":%lld}\n", (long long)bytes);
  return fflush(stdout) ? 1 : 0;
}
