/* Control groups: version 1, version 2, and hybrid (both mounted), found from /proc/self/mountinfo. */
#pragma once
#include "device-program.h"
#include "json.h"
#include <stdbool.h>

enum { CGROUP_HIERARCHIES = 24 };

struct hierarchy {
  bool v2;
  char mount[192];      /* "/sys/fs/cgroup/memory" */
  char controllers[96]; /* "cpu,cpuacct", "name=systemd"; of v2: "cpu memory …" as cgroup.controllers has them */
  int leaf;             /* directory fd of the container's cgroup, or -1 */
};

struct cgroups {
  unsigned count;
  struct hierarchy list[CGROUP_HIERARCHIES];
  char path[256]; /* the container's, below each mount: "/tsswarm/<id>" */
};

/* Finds the mounted hierarchies. */
void cgroup_find(struct cgroups *groups, const char *path);
/* Makes the container's cgroup in each hierarchy, after killing and removing what a crashed supervisor left there. */
void cgroup_make(struct cgroups *groups);
/* Version 2's cgroup for the supervisor, made and opened: the parent of the container's, or a leaf beside it where
   version 2 wants leaves. -1 without version 2. To be cloned into: moving a process that exists is slow (see below). */
int cgroup_supervisor_v2(const struct cgroups *groups);
/* Moves the calling process to the parent of the container's cgroup in every v1 hierarchy: out of the caller's. */
void cgroup_join_parent_v1(const struct cgroups *groups);
/* Writes linux.resources; a knob that this kernel lacks becomes a warning. */
void cgroup_limit(const struct cgroups *groups, const struct json *resources);
/* Moves the calling process, which must have one thread, into the container's cgroup of every v1 hierarchy. By "tasks" and
   "0", which the kernel does without waiting; a write to cgroup.procs waits for a grace period of RCU (10 ms and more)
   and holds up every fork on the machine meanwhile. */
void cgroup_join_v1(const struct cgroups *groups);
/* The container's cgroup in version 2, to be cloned into; -1 without version 2. */
int cgroup_leaf_v2(const struct cgroups *groups);
/* Opens the existing cgroups of a running container; those that are gone stay -1. */
void cgroup_open(struct cgroups *groups);
/* Kills every process in the cgroup and in those below it. Returns whether there was any. */
bool cgroup_kill(struct cgroups *groups);
/* Kills what is left and removes the cgroups, deepest first. False when something stayed. */
bool cgroup_remove(struct cgroups *groups);
/* How many processes of the container the kernel has killed for memory. */
unsigned long cgroup_oom_kills(const struct cgroups *groups);

/* The hierarchy that has the controller, or NULL. */
const struct hierarchy *cgroup_with(const struct cgroups *groups, const char *controller);
bool cgroup_list_has(const char *list, const char *name);

/* cgroup-v1.c, cgroup-v2.c: the knobs of each version. */
void cgroup_v1_limit(const struct cgroups *groups, const struct json *resources);
void cgroup_v2_limit(const struct cgroups *groups, const struct hierarchy *v2, const struct json *resources);
/* Copies cpus and mems from the parent where they are empty: a v1 cpuset cannot be joined before. */
void cgroup_v1_fill_cpuset(int parent, int child);
/* Enables in `dir` for its children the controllers that only version 2 has here. */
void cgroup_v2_enable(const struct cgroups *groups, const struct hierarchy *v2, int dir);
/* Writes a knob: absent → warning; another error fails the launch. */
void cgroup_write(int leaf, const char *knob, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* cgroup-devices.c: the rules of linux.resources.devices, completed by what every container may do. */
/* All rules in order; `count` 0 when nothing was asked for (everything is allowed). In memory of the JSON arena. */
struct device_rule *device_rules(const struct json *resources, unsigned *count);
/* Version 1: writes devices.deny and devices.allow. Version 2: loads and attaches a program. */
void device_rules_v1(int leaf, const struct device_rule *rules, unsigned count);
void device_rules_v2(int leaf, const struct device_rule *rules, unsigned count);
