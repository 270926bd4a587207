/* The subcommands of tsrun. */
#pragma once
#include <stdbool.h>
#include <sys/stat.h>

struct run_options {
  const char *bundle, *run_dir, *log, *seccomp;
  long long log_max_size;
  int log_max_files;
  bool with_stdin, no_pivot;
  const char *lease; /* NULL: the container is tied to none */
};
int run(const struct run_options *options);

struct exec_options {
  const char *run_dir, *process, *seccomp;
  bool terminal;
};
int exec_in(const struct exec_options *options);

int kill_all(const char *run_dir);
int reap_as_init(char **argv);

/* CVE-2019-5736: goes on from a copy of this program that the container cannot write to. Returns when it already is one.
   `strict`: the container may change mounts, so that only memory of our own is safe. */
void seal_program(char **argv, bool strict);
/* Whether this process is a strict copy of that very file: the container must not be given the file itself then. */
bool sealed_from(const struct stat *status);
void copy_whole(int from, int to, off_t size);
