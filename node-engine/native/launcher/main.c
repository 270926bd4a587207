/* tsrun: starts one container and stays as its supervisor; executes in it; reaps in it. */
#include "archive.h"
#include "failure.h"
#include "modes.h"
#include "state.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char USAGE[] =
    "usage: tsrun run --bundle DIR --run-dir DIR [--log FILE --log-max-size BYTES --log-max-files N]\n"
    "                 [--seccomp-bpf FILE] [--stdin] [--no-pivot] [--lease FILE]\n"
    "       tsrun exec --run-dir DIR --process FILE [--tty] [--seccomp-bpf FILE]\n"
    "       tsrun kill-all --run-dir DIR\n"
    "       tsrun stat ROOT --path PATH [--follow]\n"
    "       tsrun pack ROOT --path PATH --name NAME [--follow]\n"
    "       tsrun unpack ROOT --path PATH [--owners]\n"
    "         ROOT: --run-dir DIR | --config FILE --stage DIR | --root DIR\n"
    "       tsrun init -- COMMAND [ARGUMENT…]\n";

static _Noreturn void usage(const char *word) {
  fail_because(EINVAL, "arguments", word, "reading the arguments: \"%s\" is not understood\n%s", word ? word : "", USAGE);
}

static long long number(const char *text) {
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno || *end || !*text || value < 0) usage(text);
  return value;
}

/* The supervisor leaves the caller's directory: paths are taken from it before. */
static const char *absolute(const char *path) {
  char here[4096], *whole;
  if (!path || path[0] == '/') return path;
  if (!getcwd(here, sizeof here) || asprintf(&whole, "%s/%s", here, path) < 0)
    fail("arguments", path, "resolving the path \"%s\"", path);
  return whole;
}

/* Every option of every mode; those of another mode are refused by what the mode leaves unset. */
struct options {
  const char *bundle, *run_dir, *log, *log_max_size, *log_max_files, *seccomp, *process, *lease;
  bool with_stdin, no_pivot, terminal;
  struct archive_options archive;
};

static struct options read_options(char **argv) {
  struct options o = {0};
  const struct {
    const char *name;
    const char **value;
    bool *flag;
  } known[] = {{"--bundle", &o.bundle, NULL},
               {"--run-dir", &o.run_dir, NULL},
               {"--log", &o.log, NULL},
               {"--log-max-size", &o.log_max_size, NULL},
               {"--log-max-files", &o.log_max_files, NULL},
               {"--seccomp-bpf", &o.seccomp, NULL},
               {"--process", &o.process, NULL},
               {"--lease", &o.lease, NULL},
               {"--stdin", NULL, &o.with_stdin},
               {"--no-pivot", NULL, &o.no_pivot},
               {"--tty", NULL, &o.terminal},
               {"--config", &o.archive.config, NULL},
               {"--stage", &o.archive.stage, NULL},
               {"--root", &o.archive.root, NULL},
               {"--path", &o.archive.path, NULL},
               {"--name", &o.archive.name, NULL},
               {"--follow", NULL, &o.archive.follow},
               {"--owners", NULL, &o.archive.owners}};
  for (; *argv; argv++) {
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(*argv, known[i].name)) i++;
    if (i == sizeof known / sizeof *known) usage(*argv);
    if (known[i].flag) *known[i].flag = true;
    else if (!argv[1]) usage(*argv);
    else *known[i].value = *++argv;
  }
  return o;
}

/* A caller may have closed its standard streams: no file of ours must get their numbers. */
static void fill_standard_streams(void) {
  for (int fd = 0; fd < 3; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) _exit(125);
}

/* Whether a file asks for CAP_SYS_ADMIN: with it, a read-only mount can be made writable again. */
static bool grants_admin(const char *directory, const char *name) {
  char path[4096], text[64 * 1024 + 32];
  snprintf(path, sizeof path, "%s%s%s", directory ? directory : "", directory ? "/" : "", name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t kept = 0;
  bool found = false;
  ssize_t n;
  while (!found && (n = read(fd, text + kept, 64 * 1024)) > 0) {
    size_t length = kept + (size_t)n;
    found = memmem(text, length, "CAP_SYS_ADMIN", 13) != NULL;
    kept = length < 12 ? length : 12;
    memmove(text, text + length - kept, kept);
  }
  close(fd);
  return found;
}

int main(int argc, char **argv) {
  on_failure = failure_as_line;
  fill_standard_streams();
  const char *mode = argc > 1 ? argv[1] : "";
  if (!strcmp(mode, "init")) {
    if (argc < 4 || strcmp(argv[2], "--")) usage(mode);
    return reap_as_init(argv + 3);
  }
  /* Nobody reads our memory or opens /proc/PID/exe, while we have all rights and are seen from inside. */
  prctl(PR_SET_DUMPABLE, 0);
  struct options o = argc > 1 ? read_options(argv + 2) : (struct options){0};
  if (!strcmp(mode, "run") && o.bundle && o.run_dir) {
    seal_program(argv, grants_admin(o.bundle, "config.json"));
    struct run_options options = {absolute(o.bundle), o.run_dir, absolute(o.log), absolute(o.seccomp), o.log_max_size ? number(o.log_max_size) : 0,
                                  o.log_max_files ? (int)number(o.log_max_files) : 1, o.with_stdin, o.no_pivot, absolute(o.lease)};
    return run(&options);
  }
  if (!strcmp(mode, "exec") && o.run_dir && o.process) {
    seal_program(argv, grants_admin(NULL, o.process));
    struct exec_options options = {o.run_dir, o.process, o.seccomp, o.terminal};
    return exec_in(&options);
  }
  struct archive_options *archive = &o.archive;
  archive->run_dir = o.run_dir;
  bool one_root = !!archive->run_dir + (archive->config && archive->stage) + !!archive->root == 1;
  if (!strcmp(mode, "stat") && one_root && archive->path) return archive_stat(archive);
  if (!strcmp(mode, "pack") && one_root && archive->path && archive->name) return archive_pack(archive);
  if (!strcmp(mode, "unpack") && one_root && archive->path) return archive_unpack(archive);
  if (!strcmp(mode, "kill-all") && o.run_dir) return kill_all(o.run_dir);
  usage(mode);
}
