/* The container's file system: root, mounts, device nodes, masked and read-only paths. All in the new mount namespace. */
#pragma once
#include "json.h"
#include <stdbool.h>
#include <stdint.h>

/* Step 1, host paths still visible: makes propagation private, clones every bind source, mounts root (overlay or bind)
   and everything below it. Returns the root's fd. `stage` is a directory to put the root on: the bundle. `groups`: the
   hierarchies, where they have been found already; else NULL. */
struct cgroups;
int mount_root(const struct json *config, const char *bundle, const struct cgroups *groups);
/* Step 2: makes the root "/" and lets go of the host's tree. */
void mount_pivot(int root, bool pivot);
/* Step 3, inside: masked and read-only paths. */
void mount_protect_paths(const struct json *linux_part);
/* Step 4, the last: a read-only root when config says so. */
void mount_finish_root(const struct json *config);

/* overlay.c: mounts the overlay of the annotation on `target`. */
void overlay_mount(const struct json *annotation, const char *target);

/* mount-options.c */
struct mount_options {
  uint64_t attr_set, attr_clear;
  bool recursive_attr; /* "rro": for the submounts too */
  bool bind, recursive;
  unsigned long propagation; /* MS_PRIVATE, MS_SLAVE, MS_SHARED; 0: nothing asked */
  bool propagation_recursive;
  const char **data; /* "size=64k", for the file system itself */
  unsigned data_count;
};
void mount_options_read(const struct json *mount, struct mount_options *options);
/* A detached mount of a new file system: proc, sysfs, tmpfs, devpts, mqueue, cgroup2, or any other with a source. */
int mount_new(const char *type, const char *source, const struct mount_options *options, const char *target);
/* Applies attributes and propagation to a detached or attached mount fd. */
void mount_apply(int fd, const struct mount_options *options, const char *target);
/* Attaches a detached mount on the file or directory behind `to`. */
void mount_attach(int fd, int to, const char *target);

/* mount-cgroup.c: the "cgroup" kind of mount: version 2's, or a tmpfs with one directory per hierarchy. `known`: as above. */
void mount_cgroup(int root, const char *target, const struct mount_options *options, const struct cgroups *known);

/* devices.c: nodes and links in a /dev that is the container's own. */
void devices_make(int root, const struct json *linux_part);
