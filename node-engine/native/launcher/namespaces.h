/* Namespaces of the container: which are new, which are joined by a path. */
#pragma once
#include "json.h"
#include <stdbool.h>

struct namespaces {
  unsigned long clone_flags; /* made new, CLONE_NEWCGROUP apart: that one comes after the cgroup was joined */
  bool new_cgroup;
  int join[8]; /* fds of namespaces to join */
  int join_kind[8];
  unsigned join_count;
  int join_pid; /* fd of a pid namespace, joined before the clone; -1 */
};

/* Reads linux.namespaces and opens the paths. */
void namespaces_read(const struct json *config, struct namespaces *namespaces);
/* In the child: joins the others, names the host, brings the loopback up. */
void namespaces_enter(const struct namespaces *namespaces, const struct json *config);
/* Writes linux.sysctl through a procfs of our own; only what belongs to a namespace of the container is allowed. */
void sysctl_write(const struct json *config, const struct namespaces *namespaces);
/* Whether the container has its own namespace of that kind (CLONE_NEW…). */
bool namespaces_own(const struct namespaces *namespaces, unsigned long kind);
