#include "failure.h"
#include "process.h"
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST_FILE = 4 * 1024 * 1024, MOST_FIELDS = 7 };

/* The text of /etc/passwd or /etc/group of the container; "" when there is none. Nothing but a regular file is read. */
static char *read_accounts(const char *path) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = resolve_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  close(root);
  if (fd < 0) return "";
  struct stat status;
  if (fstat(fd, &status) || !S_ISREG(status.st_mode) || status.st_size > LARGEST_FILE) {
    close(fd);
    return "";
  }
  char *text = json_allocate((size_t)status.st_size + 1);
  ssize_t n, length = 0;
  while (length < status.st_size && (n = read(fd, text + length, (size_t)(status.st_size - length))) > 0) length += n;
  text[length] = 0;
  close(fd);
  return text;
}

/* Splits the next line of the form "a:b:c" into fields; NULL at the end. Missing fields are "". */
static char *next_line(char *at, char *fields[MOST_FIELDS]) {
  if (!*at) return NULL;
  char *end = at + strcspn(at, "\n"), *after = *end ? end + 1 : end;
  *end = 0;
  for (int i = 0; i < MOST_FIELDS; i++) {
    fields[i] = at;
    char *colon = strchr(at, ':');
    if (!colon) {
      at += strlen(at);
      continue;
    }
    *colon = 0;
    at = colon + 1;
  }
  return after;
}

static bool read_id(const char *text, unsigned *id) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (!*text || *end || errno || value > 0x7fffffff || text[0] < '0' || text[0] > '9') return false;
  *id = (unsigned)value;
  return true;
}

struct account {
  char name[64], home[512];
  unsigned uid, gid;
  bool found;
};

/* By name, or by number when the text is one and no name equals it (Docker's order). */
static struct account find_account(const char *name, bool only_number, unsigned number) {
  struct account account = {.home = "/"};
  char *fields[MOST_FIELDS];
  unsigned wanted = number, uid, gid;
  bool numeric = only_number || read_id(name, &wanted);
  for (char *at = read_accounts("/etc/passwd"); (at = next_line(at, fields));) {
    if (!read_id(fields[2], &uid) || !read_id(fields[3], &gid)) continue;
    bool by_name = name && !strcmp(fields[0], name);
    if (!by_name && !(numeric && uid == wanted && !account.found)) continue;
    account.found = true;
    account.uid = uid;
    account.gid = gid;
    snprintf(account.name, sizeof account.name, "%s", fields[0]);
    snprintf(account.home, sizeof account.home, "%s", *fields[5] ? fields[5] : "/");
    if (by_name) break;
  }
  if (!account.found && numeric) account.uid = wanted;
  return account;
}

static unsigned find_group(const char *name) {
  char *fields[MOST_FIELDS];
  unsigned gid;
  for (char *at = read_accounts("/etc/group"); (at = next_line(at, fields));)
    if (!strcmp(fields[0], name) && read_id(fields[2], &gid)) return gid;
  if (read_id(name, &gid)) return gid;
  fail_because(ENOENT, "user", name, "looking up the group \"%s\": the image's /etc/group has no such group", name);
}

static bool lists_member(const char *members, const char *name) {
  size_t length = strlen(name);
  for (const char *at = members; *at; at += strcspn(at, ","), at += *at == ',') {
    if (!strncmp(at, name, length) && (at[length] == ',' || !at[length])) return true;
  }
  return false;
}

static void add_group(struct process *p, gid_t gid) {
  for (unsigned i = 0; i < p->group_count; i++)
    if (p->groups[i] == gid) return;
  gid_t *more = json_allocate((p->group_count + 1) * sizeof *more);
  memcpy(more, p->groups, p->group_count * sizeof *more);
  more[p->group_count++] = gid;
  p->groups = more;
}

static void set_home(struct process *p, const char *home) {
  char **at = p->environment;
  for (; *at; at++)
    if (!strncmp(*at, "HOME=", 5)) return;
  size_t size = strlen(home) + 6;
  *at = json_allocate(size);
  snprintf(*at, size, "HOME=%s", home);
}

void user_resolve(struct process *p, const char *name, char **group_names, unsigned group_name_count) {
  if (!name) {
    struct account account = find_account(NULL, true, p->uid);
    set_home(p, account.home);
  } else {
    char user[256];
    snprintf(user, sizeof user, "%s", name);
    char *group = strchr(user, ':');
    if (group) *group++ = 0;
    if (group && !*group) group = NULL;
    unsigned number;
    struct account account = *user ? find_account(user, false, 0) : find_account(NULL, true, 0);
    if (!account.found && *user && !read_id(user, &number))
      fail_because(ENOENT, "user", user, "looking up the user \"%s\": the image's /etc/passwd has no such user", user);
    p->uid = account.uid;
    p->gid = group ? find_group(group) : account.gid;
    if (!group && account.found) {
      char *fields[MOST_FIELDS];
      unsigned gid;
      for (char *at = read_accounts("/etc/group"); (at = next_line(at, fields));)
        if (lists_member(fields[3], account.name) && read_id(fields[2], &gid)) add_group(p, gid);
    }
    set_home(p, account.home);
  }
  /* The primary group is a supplementary one too: a set-group-id program must not be able to shed it, which would open
     files that deny something to the group alone (CVE-2022-36109). */
  add_group(p, p->gid);
  for (unsigned i = 0; i < group_name_count; i++) add_group(p, find_group(group_names[i]));
}
