#include "archive.h"
#include "failure.h"
#include "json.h"
#include "kernel.h"
#include "mount.h"
#include "resolve.h"
#include "state.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>

/* ---- the root */

static int root_of_running(const char *run_dir) {
  struct state state = state_read(run_dir_open(run_dir));
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/root", state.pid);
  int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  /* Looked at after the root was opened: then it is that process's. */
  if (root < 0 || process_start_time(state.pid) != state.start_time)
    fail_because(ESRCH, "state", "state.json", "looking into the container: it is not running");
  return root;
}

static int root_of_stopped(const char *config, const char *stage) {
  if (unshare(CLONE_NEWNS)) fail("namespace", "mnt", "making a mount namespace");
  return mount_root(json_load(AT_FDCWD, config), stage, NULL);
}

static int open_root(const struct archive_options *o) {
  failure_line_fd = 2;
  if (o->run_dir) return root_of_running(o->run_dir);
  if (o->config) return root_of_stopped(o->config, o->stage);
  int root = open(o->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) fail("archive", o->root, "opening \"%s\"", o->root);
  return root;
}

static int open_path(int root, const struct archive_options *o) {
  int fd = resolve_open(root, o->path, O_PATH | (o->follow ? 0 : O_NOFOLLOW));
  if (fd < 0) fail("archive", o->path, "opening \"%s\"", o->path);
  return fd;
}

/* ---- stat */

static void base_name(const char *path, char *out, size_t size) {
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/') end--;
  size_t start = end;
  while (start && path[start - 1] != '/') start--;
  snprintf(out, size, "%.*s", (int)(end - start), path + start);
  if (!out[0]) snprintf(out, size, "/");
}

int archive_stat(const struct archive_options *o) {
  int fd = open_path(open_root(o), o);
  struct stat s;
  char link[PATH_MAX] = "", name[PATH_MAX], quoted_link[2 * PATH_MAX], quoted_name[2 * PATH_MAX];
  if (fstat(fd, &s)) fail("archive", o->path, "reading the attributes of \"%s\"", o->path);
  if (S_ISLNK(s.st_mode)) {
    ssize_t n = readlinkat(fd, "", link, sizeof link - 1);
    if (n >= 0) link[n] = 0;
  }
  base_name(o->path, name, sizeof name);
  json_quote(quoted_name, sizeof quoted_name, name);
  json_quote(quoted_link, sizeof quoted_link, link);
  printf("{\"name\":%s,\"sizeBytes\":%lld,\"mode\":%u,\"modifiedAt\":%lld,\"linkTarget\":%s}\n", quoted_name, (long long)s.st_size,
         s.st_mode, (long long)s.st_mtim.tv_sec * 1000 + s.st_mtim.tv_nsec / 1000000, quoted_link);
  return fflush(stdout) ? 1 : 0;
}

/* ---- pack */

/* Files with several names that were written already: the next names are links to the first. */
struct seen {
  dev_t device;
  ino_t inode;
  char *name;
};
static struct seen *seen;
static size_t seen_count, seen_room;

/* The name under which the file is in the archive already, or NULL. */
static const char *first_name(const struct stat *s, const char *name) {
  if (s->st_nlink < 2 || S_ISDIR(s->st_mode)) return NULL;
  for (size_t i = 0; i < seen_count; i++)
    if (seen[i].device == s->st_dev && seen[i].inode == s->st_ino) return seen[i].name;
  if (seen_count == seen_room) {
    seen_room = seen_room ? 2 * seen_room : 64;
    seen = realloc(seen, seen_room * sizeof *seen);
    if (!seen) fail("archive", NULL, "remembering linked files");
  }
  char *copy = strdup(name);
  if (!copy) fail("archive", NULL, "remembering linked files");
  seen[seen_count++] = (struct seen){s->st_dev, s->st_ino, copy};
  return NULL;
}

static void pack_content(int fd, int64_t size, const char *name) {
  static char piece[64 * 1024];
  int64_t done = 0;
  while (done < size) {
    int64_t want = size - done < (int64_t)sizeof piece ? size - done : (int64_t)sizeof piece;
    ssize_t n = read(fd, piece, (size_t)want);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("archive", name, "reading \"%s\"", name);
    /* It has become shorter meanwhile: its size is in the archive already. */
    if (n == 0) {
      memset(piece, 0, (size_t)want);
      n = (ssize_t)want;
    }
    tar_write(piece, (size_t)n);
    done += n;
  }
  tar_pad(size);
}

static void pack_entry(int dir, const char *file, const char *name, bool top);

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void pack_directory(int fd, const char *name) {
  DIR *stream = fdopendir(fd);
  if (!stream) fail("archive", name, "reading the directory \"%s\"", name);
  char **names = NULL;
  size_t count = 0, room = 0;
  struct dirent *entry;
  while (errno = 0, (entry = readdir(stream))) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (count == room) {
      room = room ? 2 * room : 64;
      names = realloc(names, room * sizeof *names);
    }
    if (!names || !(names[count++] = strdup(entry->d_name))) fail("archive", name, "reading the directory \"%s\"", name);
  }
  if (errno) fail("archive", name, "reading the directory \"%s\"", name);
  qsort(names, count, sizeof *names, by_name);
  for (size_t i = 0; i < count; i++) {
    char *path;
    if (asprintf(&path, "%s/%s", name, names[i]) < 0) fail("archive", name, "reading the directory \"%s\"", name);
    pack_entry(dirfd(stream), names[i], path, false);
    free(path);
    free(names[i]);
  }
  free(names);
  closedir(stream);
}

bool archive_keeps_xattr(const char *name) {
  return !strncmp(name, "user.", 5) || !strcmp(name, "security.capability");
}

/* What a file system cannot say of its files is not there. */
static void read_xattrs(int fd, struct tar_entry *e) {
  static char names[64 * 1024], value[64 * 1024];
  ssize_t length = flistxattr(fd, names, sizeof names);
  for (const char *at = names; length > 0 && at < names + length; at += strlen(at) + 1) {
    if (!archive_keeps_xattr(at) || strchr(at, '=')) continue;
    ssize_t n = fgetxattr(fd, at, value, sizeof value);
    if (n >= 0 && !tar_add_xattr(e, at, value, (size_t)n))
      fail_because(E2BIG, "archive", e->name, "copying \"%s\": it has more than 32 KiB of extended attributes", e->name);
  }
}

/* `top`: `dir` is the file itself, opened O_PATH, and `file` is not used. */
static void pack_entry(int dir, const char *file, const char *name, bool top) {
  static struct tar_entry e;
  struct stat s;
  int fd = -1;
  if (top ? fstat(dir, &s) : fstatat(dir, file, &s, AT_SYMLINK_NOFOLLOW)) {
    if (errno == ENOENT && !top) return; /* it has gone meanwhile */
    fail("archive", name, "reading the attributes of \"%s\"", name);
  }
  if (S_ISSOCK(s.st_mode)) return; /* nothing that could be copied */
  if (S_ISREG(s.st_mode) || S_ISDIR(s.st_mode)) {
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (S_ISDIR(s.st_mode) ? O_DIRECTORY : 0);
    if (top) {
      char self[64];
      snprintf(self, sizeof self, "/proc/self/fd/%d", dir);
      fd = open(self, flags);
    } else fd = openat(dir, file, flags | O_NOFOLLOW);
    struct stat now;
    if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENOTDIR) && !top) return;
    if (fd < 0 || fstat(fd, &now)) fail("archive", name, "opening \"%s\"", name);
    /* Another one of that name has come meanwhile. */
    if ((now.st_mode & S_IFMT) != (s.st_mode & S_IFMT)) return (void)close(fd);
    s = now;
  }
  if (strlen(name) + 2 > sizeof e.name) fail_because(ENAMETOOLONG, "archive", NULL, "writing an archive: a name is too long");
  memset(&e, 0, offsetof(struct tar_entry, xattrs));
  e.xattrs_length = 0;
  strcpy(e.name, name);
  e.mode = s.st_mode & 07777, e.uid = s.st_uid, e.gid = s.st_gid, e.mtime = s.st_mtim.tv_sec;
  const char *first = first_name(&s, name);
  if (first) {
    e.type = '1';
    strcpy(e.link, first);
  } else if (S_ISREG(s.st_mode)) {
    e.type = '0', e.size = s.st_size;
    read_xattrs(fd, &e);
  } else if (S_ISDIR(s.st_mode)) {
    e.type = '5';
    strcat(e.name, "/");
    read_xattrs(fd, &e);
  } else if (S_ISLNK(s.st_mode)) {
    e.type = '2';
    ssize_t n = readlinkat(dir, top ? "" : file, e.link, sizeof e.link - 1);
    if (n < 0) fail("archive", name, "reading the link \"%s\"", name);
    e.link[n] = 0;
  } else {
    e.type = S_ISFIFO(s.st_mode) ? '6' : S_ISCHR(s.st_mode) ? '3' : '4';
    e.major = major(s.st_rdev), e.minor = minor(s.st_rdev);
  }
  tar_write_header(&e);
  if (e.type == '0') pack_content(fd, e.size, name);
  bool directory = e.type == '5';
  if (directory) pack_directory(fd, name);
  else if (fd >= 0) close(fd);
}

int archive_pack(const struct archive_options *o) {
  pack_entry(open_path(open_root(o), o), "", o->name, true);
  tar_finish();
  return 0;
}

/* ---- unpack */

int archive_unpack(const struct archive_options *o) {
  int root = open_root(o);
  int folder = resolve_open(root, o->path, O_PATH);
  struct stat s;
  if (folder < 0 || fstat(folder, &s)) fail("archive", o->path, "opening \"%s\"", o->path);
  if (!S_ISDIR(s.st_mode)) fail_because(ENOTDIR, "archive", o->path, "opening \"%s\": it is no directory", o->path);
  close(folder);
  return archive_unpack_below(root, o->path, o->owners);
}
