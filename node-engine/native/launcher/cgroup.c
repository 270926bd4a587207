#include "cgroup.h"
#include "failure.h"
#include "kernel.h"
#include "resolve.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

bool cgroup_list_has(const char *list, const char *name) {
  size_t length = strlen(name);
  for (const char *at = list; (at = strstr(at, name)); at++) {
    bool starts = at == list || at[-1] == ',' || at[-1] == ' ';
    if (starts && (!at[length] || at[length] == ',' || at[length] == ' ' || at[length] == '\n')) return true;
  }
  return false;
}

/* Super-block options of a v1 hierarchy that are controllers, out of "rw,cpu,cpuacct,release_agent=…". */
static void keep_controllers(char *out, size_t size, char *options) {
  size_t n = 0;
  char *rest = NULL;
  out[0] = 0;
  for (char *word = strtok_r(options, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
    if (!strcmp(word, "rw") || !strcmp(word, "ro") || !strcmp(word, "xattr") || !strcmp(word, "noprefix")) continue;
    if (!strcmp(word, "clone_children") || (strchr(word, '=') && strncmp(word, "name=", 5))) continue;
    int written = snprintf(out + n, size - n, "%s%s", n ? "," : "", word);
    if (written > 0 && n + (size_t)written < size) n += (size_t)written;
  }
}

static void add_hierarchy(struct cgroups *groups, char *line) {
  /* "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:5 - cgroup cgroup rw,cpu" */
  char *separator = strstr(line, " - cgroup");
  if (!separator || groups->count == CGROUP_HIERARCHIES) return;
  char *rest = NULL, *field = strtok_r(line, " ", &rest);
  for (int i = 0; field && i < 4; i++) field = strtok_r(NULL, " ", &rest);
  bool v2 = separator[9] == '2';
  char *options = strchr(separator + 10 + v2, ' ');
  if (!field || !options) return;
  struct hierarchy *h = &groups->list[groups->count];
  *h = (struct hierarchy){.v2 = v2, .leaf = -1};
  if (snprintf(h->mount, sizeof h->mount, "%s", field) >= (int)sizeof h->mount) return;
  if (v2) {
    char path[256];
    snprintf(path, sizeof path, "%s/cgroup.controllers", h->mount);
    read_file(AT_FDCWD, path, h->controllers, sizeof h->controllers);
  } else {
    keep_controllers(h->controllers, sizeof h->controllers, options + 1);
  }
  /* The same hierarchy may be mounted twice: the first is taken. */
  for (unsigned i = 0; i < groups->count; i++)
    if (groups->list[i].v2 == v2 && (v2 || !strcmp(groups->list[i].controllers, h->controllers))) return;
  groups->count++;
}

/* Reads the list of mounts until `all` hierarchies are found: they come early, and what follows is some of every container. */
static void read_hierarchies(struct cgroups *groups, unsigned all) {
  size_t size = 256 * 1024, kept = 0;
  char *text = json_allocate(size);
  int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  ssize_t n = -1;
  while (fd >= 0 && groups->count < all && (n = read(fd, text + kept, size - 1 - kept)) > 0) {
    kept += (size_t)n;
    text[kept] = 0;
    char *line = text, *end;
    for (; (end = strchr(line, '\n')); line = end + 1) {
      *end = 0;
      add_hierarchy(groups, line);
    }
    kept -= (size_t)(line - text);
    memmove(text, line, kept);
  }
  if (fd < 0 || n < 0) fail("cgroup", "/proc/self/mountinfo", "reading \"/proc/self/mountinfo\"");
  close(fd);
}

void cgroup_find(struct cgroups *groups, const char *path) {
  groups->count = 0;
  if (path[0] != '/' || !path[1] || strstr(path, "..") || strlen(path) >= sizeof groups->path)
    fail_because(EINVAL, "cgroup", path, "reading cgroupsPath \"%s\": not an absolute path below the root", path);
  snprintf(groups->path, sizeof groups->path, "%s", path);
  /* A line for each hierarchy that there is; one that is mounted nowhere has the whole list read. */
  size_t size = 64 * 1024;
  char *own = json_allocate(size);
  ssize_t length = read_file(AT_FDCWD, "/proc/self/cgroup", own, size);
  unsigned all = 0;
  for (const char *at = own; length > 0 && (at = strchr(at, '\n')); at++) all++;
  read_hierarchies(groups, all && length < (ssize_t)size - 1 ? all : CGROUP_HIERARCHIES + 1);
}

const struct hierarchy *cgroup_with(const struct cgroups *groups, const char *controller) {
  for (int v2 = 0; v2 < 2; v2++)
    for (unsigned i = 0; i < groups->count; i++)
      if (groups->list[i].v2 == v2 && cgroup_list_has(groups->list[i].controllers, controller)) return &groups->list[i];
  return NULL;
}

static int open_below(const struct hierarchy *h, const char *path) {
  char whole[512];
  snprintf(whole, sizeof whole, "%s%s", h->mount, path);
  return open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void pause_ms(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

/* Removes the directories below `dir`, then nothing of it itself. */
static void remove_children(int dir) {
  int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = copy < 0 ? NULL : fdopendir(copy);
  if (!list) return;
  for (struct dirent *entry; (entry = readdir(list));) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    int child = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (child < 0) continue;
    remove_children(child);
    close(child);
    unlinkat(dir, entry->d_name, AT_REMOVEDIR);
  }
  closedir(list);
}

static bool remove_leaf(struct hierarchy *h, const char *path) {
  char whole[512];
  snprintf(whole, sizeof whole, "%s%s", h->mount, path);
  /* A killed process leaves its cgroup only when it has been reaped: EBUSY until then. About two seconds in all. */
  for (int attempt = 0; attempt < 40; attempt++) {
    if (!rmdir(whole) || errno == ENOENT) return true;
    if (errno != EBUSY) return false;
    int dir = open_below(h, path);
    if (dir >= 0) {
      remove_children(dir);
      close(dir);
      if (!rmdir(whole)) return true;
    }
    pause_ms(attempt < 10 ? 1 : 60);
  }
  return false;
}

bool cgroup_remove(struct cgroups *groups) {
  bool all = true;
  cgroup_kill(groups);
  for (unsigned i = 0; i < groups->count; i++) {
    if (groups->list[i].leaf >= 0) close(groups->list[i].leaf);
    groups->list[i].leaf = -1;
    if (!remove_leaf(&groups->list[i], groups->path)) all = false;
  }
  return all;
}

/* Makes one directory after another along `path` and opens the last. */
static int make_path(const struct cgroups *groups, const struct hierarchy *h, const char *path) {
  bool cpuset = !h->v2 && cgroup_list_has(h->controllers, "cpuset");
  int dir = open_below(h, "");
  if (dir < 0) fail("cgroup", h->mount, "opening the cgroup hierarchy \"%s\"", h->mount);
  char names[256], *rest = NULL;
  snprintf(names, sizeof names, "%s", path);
  for (char *name = strtok_r(names, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
    if (h->v2) cgroup_v2_enable(groups, h, dir);
    if (mkdirat(dir, name, 0755) && errno != EEXIST)
      fail("cgroup", path, "making the cgroup \"%s%s\"", h->mount, path);
    int child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (child < 0) fail("cgroup", path, "opening the cgroup \"%s%s\"", h->mount, path);
    if (cpuset) cgroup_v1_fill_cpuset(dir, child);
    close(dir);
    dir = child;
  }
  return dir;
}

static void parent_of(char *parent, size_t size, const char *path) {
  snprintf(parent, size, "%s", path);
  *strrchr(parent, '/') = 0;
}

void cgroup_make(struct cgroups *groups) {
  bool left_over = false;
  cgroup_open(groups);
  for (unsigned i = 0; i < groups->count; i++) left_over |= groups->list[i].leaf >= 0;
  if (left_over && !cgroup_remove(groups))
    fail_because(EBUSY, "cgroup", groups->path, "making the cgroup \"%s\": it exists and cannot be emptied", groups->path);
  for (unsigned i = 0; i < groups->count; i++)
    groups->list[i].leaf = make_path(groups, &groups->list[i], groups->path);
}

void cgroup_open(struct cgroups *groups) {
  for (unsigned i = 0; i < groups->count; i++) groups->list[i].leaf = open_below(&groups->list[i], groups->path);
}

static const struct hierarchy *version_2(const struct cgroups *groups) {
  for (unsigned i = 0; i < groups->count; i++)
    if (groups->list[i].v2) return &groups->list[i];
  return NULL;
}

int cgroup_leaf_v2(const struct cgroups *groups) {
  const struct hierarchy *h = version_2(groups);
  return h ? h->leaf : -1;
}

int cgroup_supervisor_v2(const struct cgroups *groups) {
  const struct hierarchy *h = version_2(groups);
  if (!h) return -1;
  char parent[256], enabled[256] = "";
  parent_of(parent, sizeof parent, groups->path);
  int dir = make_path(groups, h, parent);
  if (!*parent) return dir;
  cgroup_v2_enable(groups, h, dir);
  /* Version 2 allows no process in a cgroup that hands controllers to its children. */
  if (read_file(dir, "cgroup.subtree_control", enabled, sizeof enabled) <= 0 || enabled[0] == '\n') return dir;
  if (mkdirat(dir, "supervisors", 0755) && errno != EEXIST) fail("cgroup", parent, "making the supervisors' cgroup");
  int leaf = openat(dir, "supervisors", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (leaf < 0) fail("cgroup", parent, "opening the supervisors' cgroup");
  close(dir);
  return leaf;
}

void cgroup_join_v1(const struct cgroups *groups) {
  for (unsigned i = 0; i < groups->count; i++) {
    const struct hierarchy *h = &groups->list[i];
    if (!h->v2 && (h->leaf < 0 || write_file(h->leaf, "tasks", "0")))
      fail("cgroup", groups->path, "joining the cgroup \"%s%s\"", h->mount, groups->path);
  }
}

void cgroup_join_parent_v1(const struct cgroups *groups) {
  char parent[256];
  parent_of(parent, sizeof parent, groups->path);
  for (unsigned i = 0; i < groups->count; i++) {
    const struct hierarchy *h = &groups->list[i];
    int dir = h->v2 ? -1 : open_below(h, parent);
    if (dir < 0) continue;
    if (write_file(dir, "tasks", "0"))
      warning("the supervisor cannot join the cgroup \"%s%s\": %s", h->mount, parent, strerror(errno));
    close(dir);
  }
}

/* Sends SIGKILL to each process below `dir`; how many there were. */
static unsigned kill_below(int dir) {
  unsigned count = 0;
  char text[16 * 1024];
  if (read_file(dir, "cgroup.procs", text, sizeof text) > 0) {
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
      int pid = atoi(line);
      if (pid > 1 && pid != getpid() && !kill(pid, SIGKILL)) count++;
    }
  }
  int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = copy < 0 ? NULL : fdopendir(copy);
  if (!list) return count;
  for (struct dirent *entry; (entry = readdir(list));) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    int child = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (child < 0) continue;
    count += kill_below(child);
    close(child);
  }
  closedir(list);
  return count;
}

/* Version 2 kills a whole tree at once (kernel 5.14); it does so in hybrid mode too. */
static bool kill_by_v2(const struct hierarchy *h, bool *any) {
  char events[256];
  if (read_file(h->leaf, "cgroup.events", events, sizeof events) > 0 && strstr(events, "populated 1")) *any = true;
  return !write_file(h->leaf, "cgroup.kill", "1");
}

bool cgroup_kill(struct cgroups *groups) {
  bool any = false;
  for (unsigned i = 0; i < groups->count; i++)
    if (groups->list[i].v2 && groups->list[i].leaf >= 0 && kill_by_v2(&groups->list[i], &any)) return any;
  const struct hierarchy *freezer = cgroup_with(groups, "freezer");
  if (freezer && (freezer->leaf < 0 || freezer->v2)) freezer = NULL;
  for (unsigned i = 0; i < groups->count; i++) {
    int leaf = groups->list[i].leaf;
    /* Frozen, nothing can fork away between reading the list and the signals; repeated until a round finds nobody. */
    for (int round = 0; leaf >= 0 && round < 100; round++) {
      if (freezer) write_file(freezer->leaf, "freezer.state", "FROZEN");
      unsigned killed = kill_below(leaf);
      if (freezer) write_file(freezer->leaf, "freezer.state", "THAWED");
      if (!killed) break;
      any = true;
      pause_ms(1);
    }
  }
  return any;
}

static unsigned long count_after(const char *text, const char *key) {
  for (const char *at = text; (at = strstr(at, key)); at++)
    if ((at == text || at[-1] == '\n') && at[strlen(key)] == ' ') return strtoul(at + strlen(key), NULL, 10);
  return 0;
}

unsigned long cgroup_oom_kills(const struct cgroups *groups) {
  const struct hierarchy *memory = cgroup_with(groups, "memory");
  char text[1024];
  if (!memory || memory->leaf < 0) return 0;
  const char *file = memory->v2 ? "memory.events" : "memory.oom_control";
  return read_file(memory->leaf, file, text, sizeof text) > 0 ? count_after(text, "oom_kill") : 0;
}

void cgroup_write(int leaf, const char *knob, const char *format, ...) {
  char value[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(value, sizeof value, format, arguments);
  va_end(arguments);
  if (!write_file(leaf, knob, value)) return;
  if (errno == ENOENT || errno == EOPNOTSUPP)
    warning("this kernel has no \"%s\": the limit \"%s\" is not applied", knob, value);
  else fail("cgroup", knob, "writing \"%s\" to \"%s\"", value, knob);
}

void cgroup_limit(const struct cgroups *groups, const struct json *resources) {
  cgroup_v1_limit(groups, resources);
  for (unsigned i = 0; i < groups->count; i++)
    if (groups->list[i].v2) cgroup_v2_limit(groups, &groups->list[i], resources);
}
