#include "process.h"
#include "failure.h"
#include "kernel.h"
#include "launch.h"
#include "resolve.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

void process_read(struct process *p, const struct json *json, const char *seccomp_path) {
  *p = (struct process){.json = json, .seccomp_path = seccomp_path};
  unsigned count;
  p->argv = json_strings(json, "args", &count);
  if (!count) fail_because(EINVAL, "config", "process.args", "reading the process: it has no arguments");
  char **given = json_strings(json, "env", &count);
  /* One place more, for HOME. */
  p->environment = json_allocate((count + 2) * sizeof *p->environment);
  memcpy(p->environment, given, (count + 1) * sizeof *given);
  p->environment[count + 1] = NULL;
  p->cwd = json_string(json, "cwd");
  if (!p->cwd || !*p->cwd) p->cwd = "/";
  if (p->cwd[0] != '/')
    fail_because(EINVAL, "cwd", p->cwd, "reading the process: the working directory \"%s\" is not an absolute path", p->cwd);
  const struct json *user = json_get(json, "user");
  p->uid = (uid_t)json_integer(user, "uid", 0);
  p->gid = (gid_t)json_integer(user, "gid", 0);
  const struct json *groups = json_get(user, "additionalGids");
  p->groups = json_allocate(((groups ? groups->count : 0) + 1) * sizeof(gid_t));
  json_each(item, groups) p->groups[p->group_count++] = (gid_t)json_value_integer(item);
  static const char *const refused[] = {"scheduler", "ioPriority", "execCPUAffinity"};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if (json_get(json, refused[i]))
      fail_because(EINVAL, "config", refused[i], "reading the process: \"%s\" is not supported", refused[i]);
  const char *profile = json_string(json, "apparmorProfile"), *label = json_string(json, "selinuxLabel");
  if (profile && *profile && strcmp(profile, "unconfined"))
    fail_because(ENOTSUP, "config", profile, "reading the process: AppArmor profiles (\"%s\") are not supported", profile);
  if (label && *label)
    fail_because(ENOTSUP, "config", label, "reading the process: SELinux labels (\"%s\") are not supported", label);
  seccomp_read(p);
}

static const struct {
  const char *name;
  int resource;
} LIMITS[] = {{"RLIMIT_AS", RLIMIT_AS},           {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_CPU", RLIMIT_CPU},
              {"RLIMIT_DATA", RLIMIT_DATA},       {"RLIMIT_FSIZE", RLIMIT_FSIZE},       {"RLIMIT_LOCKS", RLIMIT_LOCKS},
              {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
              {"RLIMIT_NOFILE", RLIMIT_NOFILE},   {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_RSS", RLIMIT_RSS},
              {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},   {"RLIMIT_RTTIME", RLIMIT_RTTIME},     {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
              {"RLIMIT_STACK", RLIMIT_STACK}};
enum { LIMIT_COUNT = sizeof LIMITS / sizeof *LIMITS };

static rlim_t limit_value(const struct json *item, const char *key, const char *type) {
  const struct json *value = json_get(item, key);
  if (!value || value->type != JSON_NUMBER)
    fail_because(EINVAL, "rlimit", type, "reading the limit \"%s\": it has no \"%s\"", type, key);
  return value->negative ? RLIM_INFINITY : value->magnitude;
}

void process_limit(const struct process *p) {
  json_each(item, json_get(p->json, "rlimits")) {
    const char *type = json_string(item, "type");
    unsigned i = 0;
    while (i < LIMIT_COUNT && (!type || strcmp(type, LIMITS[i].name))) i++;
    if (i == LIMIT_COUNT) fail_because(EINVAL, "rlimit", type, "reading the limits: \"%s\" is unknown", type ? type : "");
    struct rlimit wanted = {limit_value(item, "soft", type), limit_value(item, "hard", type)}, have;
    if (!setrlimit(LIMITS[i].resource, &wanted)) continue;
    if (errno != EPERM || getrlimit(LIMITS[i].resource, &have))
      fail("rlimit", type, "setting the limit \"%s\" to %llu:%llu", type, (unsigned long long)wanted.rlim_cur,
           (unsigned long long)wanted.rlim_max);
    /* Raising the hard limit needs CAP_SYS_RESOURCE, which not every machine gives: as high as we may. */
    struct rlimit clamped = {wanted.rlim_cur < have.rlim_max ? wanted.rlim_cur : have.rlim_max,
                             wanted.rlim_max < have.rlim_max ? wanted.rlim_max : have.rlim_max};
    if (setrlimit(LIMITS[i].resource, &clamped)) fail("rlimit", type, "setting the limit \"%s\"", type);
    warning("the limit \"%s\" cannot be raised above %llu on this machine: it is set to that", type,
            (unsigned long long)have.rlim_max);
  }
}

void process_set_oom_score(const struct process *p) {
  char value[32];
  /* Our own value is the supervisor's, which is lower where that is allowed: always written. */
  snprintf(value, sizeof value, "%lld", (long long)json_integer(p->json, "oomScoreAdj", 0));
  if (!write_file(AT_FDCWD, "/proc/self/oom_score_adj", value)) return;
  if (errno == EACCES || errno == EPERM) warning("oom_score_adj cannot be lowered to %s on this machine", value);
  else fail("process", "oom_score_adj", "setting oom_score_adj to %s", value);
}

void process_resolve_user(struct process *p, const struct json *annotations) {
  const struct json *user = json_get(p->json, "user");
  const char *name = json_string(user, "username");
  if (!name || !*name) name = json_string(annotations, "tsswarm.user");
  unsigned count;
  char **names = json_strings(user, "additionalGroups", &count);
  const char *listed = json_string(annotations, "tsswarm.groups");
  if (!count && listed && *listed) {
    /* Names or numbers separated by commas. */
    size_t length = strlen(listed);
    char *text = json_allocate(length + 1), *rest = NULL;
    memcpy(text, listed, length + 1);
    names = json_allocate((length + 1) * sizeof *names);
    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) names[count++] = word;
  }
  user_resolve(p, name && *name ? name : NULL, names, count);
}

void process_make_cwd(struct process *p) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct stat before;
  bool missing = stat(p->cwd, &before) && errno == ENOENT;
  int fd = resolve_create(root, p->cwd, true);
  if (fd < 0) fail("cwd", p->cwd, "making the working directory \"%s\"", p->cwd);
  struct stat status;
  if (fstat(fd, &status) || !S_ISDIR(status.st_mode)) {
    errno = ENOTDIR;
    fail("cwd", p->cwd, "entering the working directory \"%s\"", p->cwd);
  }
  /* Made for the user that will work in it, as Docker does for WORKDIR with USER. */
  if (missing && (p->uid || p->gid) && fchownat(fd, "", p->uid, p->gid, K_AT_EMPTY_PATH))
    warning("the working directory \"%s\" cannot be given to the user %u", p->cwd, p->uid);
  close(fd);
  close(root);
}

static void enter_cwd(const char *cwd, bool may_retry) {
  if (chdir(cwd)) {
    if (may_retry && errno == EACCES) return;
    fail("cwd", cwd, "entering the working directory \"%s\"", cwd);
  }
  /* A directory outside the root (a leaked descriptor under /proc/self/fd) has no path in it: the kernel says so. */
  char path[4096];
  long n = syscall(SYS_getcwd, path, sizeof path);
  if (n <= 0 || path[0] != '/')
    fail_because(EPERM, "cwd", cwd, "entering the working directory \"%s\": it is outside the container's root", cwd);
}

static void change_user(const struct process *p) {
  if (setgroups(p->group_count, p->groups)) fail("user", NULL, "setting the supplementary groups");
  if (prctl(PR_SET_KEEPCAPS, 1)) fail("user", NULL, "keeping the capabilities");
  if (setresgid(p->gid, p->gid, p->gid)) fail("user", NULL, "becoming the group %u", p->gid);
  if (setresuid(p->uid, p->uid, p->uid)) fail("user", NULL, "becoming the user %u", p->uid);
  if (prctl(PR_SET_KEEPCAPS, 0)) fail("user", NULL, "keeping the capabilities");
}

/* The C library keeps 32 and 33 to itself: it refuses to change them, and its posix_spawn(3) leaves them ignored. The kernel's own call
   knows no such thing. All zero is the default action, whatever the order of the fields. */
static void reset_signals(void) {
  static const unsigned char standard[64];
  for (int i = 1; i < 65; i++)
    if (i != SIGKILL && i != SIGSTOP) syscall(SYS_rt_sigaction, i, standard, NULL, 8);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static const char *find_variable(char **environment, const char *name) {
  size_t length = strlen(name);
  for (; *environment; environment++)
    if (!strncmp(*environment, name, length) && (*environment)[length] == '=') return *environment + length + 1;
  return NULL;
}

static _Noreturn void refuse_execution(const char *program, const char *found, int number) {
  if (number == ENOENT && found)
    fail_because(ENOENT, "exec", program, "executing \"%s\": \"%s\" is there, the interpreter that it names is not", program, found);
  errno = number;
  if (number == ENOENT && !strchr(program, '/'))
    fail_because(ENOENT, "exec", program, "executing \"%s\": executable file not found in $PATH", program);
  fail("exec", program, "executing \"%s\"", program);
}

/* execvp(3) with the container's PATH and without its fallback to a shell. */
static _Noreturn void execute(const struct process *p) {
  const char *program = p->argv[0];
  if (!*program) refuse_execution(program, NULL, ENOENT);
  if (strchr(program, '/')) {
    execve(program, p->argv, p->environment);
    int number = errno;
    refuse_execution(program, number == ENOENT && !access(program, F_OK) ? program : NULL, number);
  }
  const char *path = find_variable(p->environment, "PATH");
  if (!path) path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  int number = ENOENT;
  char whole[4096], found[4096] = "";
  for (const char *at = path;; at++) {
    size_t length = strcspn(at, ":");
    int n = snprintf(whole, sizeof whole, "%.*s%s%s", (int)length, at, length ? "/" : "./", program);
    if (n < (int)sizeof whole) {
      execve(whole, p->argv, p->environment);
      if (errno == ENOENT && !access(whole, F_OK) && !*found) memcpy(found, whole, (size_t)n + 1);
      else if (errno != ENOENT && errno != ENOTDIR) {
        number = errno;
        if (number != EACCES) break;
      }
    }
    at += length;
    if (!*at) break;
  }
  refuse_execution(program, *found ? found : NULL, number);
}

void process_execute(struct process *p) {
  const struct json *capabilities = json_get(p->json, "capabilities");
  bool no_new_privileges = json_true(p->json, "noNewPrivileges");
  enter_cwd(p->cwd, true);
  umask((mode_t)json_integer(json_get(p->json, "user"), "umask", 0022) & 0777);
  reset_signals();
  capabilities_bound(capabilities);
  change_user(p);
  enter_cwd(p->cwd, false);
  /* The change of user has cleared the signal at the parent's death. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL)) fail("process", NULL, "tying the process to its supervisor");
  if (no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("process", NULL, "setting no_new_privs");
  /* Nothing of ours stays open in the program (close_range keeps 0 to 2). */
  if (k_close_range(3, ~0u, K_CLOSE_RANGE_CLOEXEC)) fail("process", NULL, "closing the launcher's files");
  launch_ready();
  capabilities_raise();
  /* Loading a filter needs CAP_SYS_ADMIN or no_new_privs: last where the latter is set, else just before the final drop. */
  if (!no_new_privileges) seccomp_load(p);
  capabilities_set(capabilities);
  if (no_new_privileges) seccomp_load(p);
  execute(p);
}
