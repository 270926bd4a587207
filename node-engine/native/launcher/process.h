/* The last steps before a program runs in the container, the same for its main process and for an exec'ed one. */
#pragma once
#include "json.h"
#include <sys/types.h>

struct process {
  const struct json *json;
  char **argv, **environment;
  const char *cwd;
  uid_t uid;
  gid_t gid;
  gid_t *groups;
  unsigned group_count;
  const char *seccomp_path; /* file of ready BPF on the host; NULL: none */
  void *filter;
  unsigned filter_length; /* instructions */
};

/* Reads the OCI process object and, from the host's view, the BPF file. `annotations` may be NULL. */
void process_read(struct process *process, const struct json *json, const char *seccomp_path);
/* With the container's root as "/": resolves names of user and groups, completes HOME. */
void process_resolve_user(struct process *process, const struct json *annotations);
/* Makes the working directory when it is missing. Before the root may become read-only. */
void process_make_cwd(struct process *process);
/* rlimits, oom_score_adj: while /proc is the host's and the rights are whole. */
void process_limit(const struct process *process);
/* Sets the scheduling of out-of-memory kills; on its own because it needs /proc. */
void process_set_oom_score(const struct process *process);
/* Gives up rights and becomes the program; a failure is reported at stage cwd, user, capabilities, seccomp or exec. */
_Noreturn void process_execute(struct process *process);

/* user.c */
void user_resolve(struct process *process, const char *name, char **group_names, unsigned group_name_count);
/* capabilities.c: bounding set first, as root; the rest after the change of user. */
void capabilities_bound(const struct json *capabilities);
void capabilities_set(const struct json *capabilities);
/* All that is permitted becomes effective: between the change of user and the final sets. */
void capabilities_raise(void);
/* seccomp.c */
void seccomp_read(struct process *process);
void seccomp_load(const struct process *process);
