#include "failure.h"
#include "kernel.h"
#include "mount.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* mount(2) takes one page of options. */
enum { MOST_OPTIONS = 4095 };

/* Appends `text` with the characters escaped that overlayfs splits at; false when it does not fit. */
static bool append(char *out, size_t *length, const char *text, bool escape) {
  for (; *text; text++) {
    if (*length + 3 > MOST_OPTIONS) return false;
    if (escape && strchr(":,\\", *text)) out[(*length)++] = '\\';
    out[(*length)++] = *text;
  }
  out[*length] = 0;
  return true;
}

/* How many characters of all layers are one directory that can be entered, so that only the rest needs to be named. */
static size_t shared_directory(char **layers, unsigned count) {
  size_t shared = strlen(layers[0]);
  for (unsigned i = 1; i < count; i++) {
    size_t same = 0;
    while (same < shared && layers[i][same] == layers[0][same]) same++;
    shared = same;
  }
  while (shared > 0 && layers[0][shared - 1] != '/') shared--;
  return shared;
}

static bool build_options(char *out, char **layers, unsigned count, size_t skip, const char *upper, const char *work) {
  size_t length = 0;
  /* redirect_dir and metacopy off: the upper directory stays a plain difference that can be read without this mount. */
  if (!append(out, &length, "redirect_dir=off,metacopy=off,index=off,lowerdir=", false)) return false;
  for (unsigned i = 0; i < count; i++)
    if ((i && !append(out, &length, ":", false)) || !append(out, &length, layers[i] + skip, true)) return false;
  if (!upper) return true;
  return append(out, &length, ",upperdir=", false) && append(out, &length, upper, true) &&
         append(out, &length, ",workdir=", false) && append(out, &length, work, true);
}

/* Kernel 6.8: one call per layer, no limit but that of the stack. */
static bool mount_by_layers(char **layers, unsigned count, const char *upper, const char *work, const char *target) {
  int fs = k_fsopen("overlay", K_FSOPEN_CLOEXEC);
  if (fs < 0) return false;
  bool good = true;
  for (unsigned i = 0; good && i < count; i++)
    good = !k_fsconfig(fs, K_FSCONFIG_SET_STRING, "lowerdir+", layers[i], 0);
  if (upper)
    good = good && !k_fsconfig(fs, K_FSCONFIG_SET_STRING, "upperdir", upper, 0) &&
           !k_fsconfig(fs, K_FSCONFIG_SET_STRING, "workdir", work, 0);
  static const char *const off[] = {"redirect_dir", "metacopy", "index"};
  for (int i = 0; good && i < 3; i++) good = !k_fsconfig(fs, K_FSCONFIG_SET_STRING, off[i], "off", 0);
  if (!good || k_fsconfig(fs, K_FSCONFIG_CREATE, NULL, NULL, 0)) {
    close(fs);
    return false;
  }
  int fd = k_fsmount(fs, K_FSMOUNT_CLOEXEC, 0);
  good = fd >= 0 && !k_move_mount(fd, "", AT_FDCWD, target, K_MOVE_FROM_EMPTY);
  close(fs);
  if (fd >= 0) close(fd);
  return good;
}

/* Before kernel 6.8: the layers are opened, and named by their descriptors from within /proc/self/fd, four characters each. */
static bool mount_by_descriptors(char **layers, unsigned count, const char *upper, const char *work, const char *target) {
  char options[MOST_OPTIONS + 1];
  char **names = json_allocate(count * sizeof *names);
  int *opened = json_allocate(count * sizeof *opened);
  for (unsigned i = 0; i < count; i++) {
    names[i] = json_allocate(16);
    opened[i] = open(layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (opened[i] < 0) fail("mount", layers[i], "mounting the root: the layer \"%s\"", layers[i]);
    snprintf(names[i], 16, "%d", opened[i]);
  }
  bool good = build_options(options, names, count, 0, upper, work) && !chdir("/proc/self/fd") &&
              !mount("overlay", target, "overlay", 0, options);
  int kept = errno;
  for (unsigned i = 0; i < count; i++) close(opened[i]);
  if (chdir("/")) fail("mount", "/", "entering \"/\"");
  errno = kept;
  return good;
}

void overlay_mount(const struct json *annotation, const char *target) {
  unsigned count;
  char **layers = json_strings(annotation, "lower", &count);
  const char *upper = json_string(annotation, "upper"), *work = json_string(annotation, "work");
  if (!count || (upper && !work))
    fail_because(EINVAL, "config", "tsswarm.overlay", "reading the annotation \"tsswarm.overlay\": it needs \"lower\", and \"work\" with \"upper\"");
  for (unsigned i = 0; i < count; i++)
    if (layers[i][0] != '/')
      fail_because(EINVAL, "config", layers[i], "reading the annotation \"tsswarm.overlay\": the layer \"%s\" is not an absolute path", layers[i]);
  char options[MOST_OPTIONS + 1];
  size_t skip = 0;
  bool fits = build_options(options, layers, count, 0, upper, work);
  if (!fits) {
    skip = shared_directory(layers, count);
    fits = build_options(options, layers, count, skip, upper, work);
  }
  if (!fits) {
    if (mount_by_layers(layers, count, upper, work, target)) return;
    if (mount_by_descriptors(layers, count, upper, work, target)) return;
    fail("mount", "/", "mounting the root from %u layers (more than this kernel takes in one page of options)", count);
  }
  if (skip) {
    char directory[4096];
    snprintf(directory, sizeof directory, "%.*s", (int)skip, layers[0]);
    if (chdir(directory)) fail("mount", directory, "entering \"%s\"", directory);
  }
  if (mount("overlay", target, "overlay", 0, options)) {
    int kept = errno;
    for (unsigned i = 0; i < count; i++)
      if (access(layers[i], F_OK)) fail("mount", layers[i], "mounting the root: the layer \"%s\"", layers[i]);
    if (upper && access(upper, F_OK)) fail("mount", upper, "mounting the root: the writable layer \"%s\"", upper);
    errno = kept;
    fail("mount", "/", "mounting the root from %u layers", count);
  }
  if (skip && chdir("/")) fail("mount", "/", "entering \"/\"");
}
