#include "failure.h"
#include "kernel.h"
#include "mount.h"
#include <errno.h>
#include <string.h>
#include <sys/mount.h>

struct flag {
  const char *name;
  uint64_t set, clear;
};
static const struct flag FLAGS[] = {
    {"ro", K_ATTR_RDONLY, 0},
    {"rw", 0, K_ATTR_RDONLY},
    {"nosuid", K_ATTR_NOSUID, 0},
    {"suid", 0, K_ATTR_NOSUID},
    {"nodev", K_ATTR_NODEV, 0},
    {"dev", 0, K_ATTR_NODEV},
    {"noexec", K_ATTR_NOEXEC, 0},
    {"exec", 0, K_ATTR_NOEXEC},
    {"relatime", K_ATTR_RELATIME, K_ATTR_ATIME_MASK},
    {"norelatime", K_ATTR_STRICTATIME, K_ATTR_ATIME_MASK},
    {"noatime", K_ATTR_NOATIME, K_ATTR_ATIME_MASK},
    {"atime", K_ATTR_RELATIME, K_ATTR_ATIME_MASK},
    {"strictatime", K_ATTR_STRICTATIME, K_ATTR_ATIME_MASK},
    {"nostrictatime", K_ATTR_RELATIME, K_ATTR_ATIME_MASK},
    {"nodiratime", K_ATTR_NODIRATIME, 0},
    {"diratime", 0, K_ATTR_NODIRATIME},
    {"nosymfollow", K_ATTR_NOSYMFOLLOW, 0},
    {"symfollow", 0, K_ATTR_NOSYMFOLLOW},
};
static const struct flag PROPAGATIONS[] = {{"private", MS_PRIVATE, 0},
                                           {"slave", MS_SLAVE, 0},
                                           {"shared", MS_SHARED, 0},
                                           {"unbindable", MS_UNBINDABLE, 0}};

static const struct flag *find(const struct flag *table, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (!strcmp(table[i].name, name)) return &table[i];
  return NULL;
}

static bool read_one(const char *word, struct mount_options *options) {
  const size_t flags = sizeof FLAGS / sizeof *FLAGS, propagations = sizeof PROPAGATIONS / sizeof *PROPAGATIONS;
  const struct flag *flag = find(FLAGS, flags, word);
  /* "rro", "rnosuid": the same for every mount below, as mount_setattr(2) can. */
  if (!flag && *word == 'r' && (flag = find(FLAGS, flags, word + 1))) options->recursive_attr = true;
  if (flag) {
    options->attr_set = (options->attr_set & ~flag->clear) | flag->set;
    options->attr_clear = (options->attr_clear & ~flag->set) | flag->clear;
    return true;
  }
  bool recursive = false;
  const struct flag *propagation = find(PROPAGATIONS, propagations, word);
  if (!propagation && *word == 'r' && (propagation = find(PROPAGATIONS, propagations, word + 1))) recursive = true;
  if (propagation) {
    options->propagation = propagation->set;
    options->propagation_recursive = recursive;
    return true;
  }
  if (!strcmp(word, "bind") || !strcmp(word, "rbind")) {
    options->bind = true;
    options->recursive = *word == 'r';
    return true;
  }
  /* Words of mount(8) that mean nothing to the kernel; the consistency flags of Docker Desktop come as such too. */
  static const char *const nothing[] = {"defaults", "async", "nofail", "auto", "noauto", "", "z", "Z"};
  for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++)
    if (!strcmp(word, nothing[i])) return true;
  return false;
}

void mount_options_read(const struct json *mount, struct mount_options *options) {
  unsigned count;
  char **words = json_strings(mount, "options", &count);
  *options = (struct mount_options){.data = json_allocate((count + 1) * sizeof(char *))};
  const char *target = json_string(mount, "destination");
  for (unsigned i = 0; i < count; i++) {
    if (read_one(words[i], options)) continue;
    if (!strcmp(words[i], "remount") || !strcmp(words[i], "tmpcopyup") || !strncmp(words[i], "idmap", 5))
      fail_because(EINVAL, "mount", target, "reading the options of the mount \"%s\": \"%s\" is not supported",
                   target ? target : "", words[i]);
    options->data[options->data_count++] = words[i];
  }
}

int mount_new(const char *type, const char *source, const struct mount_options *options, const char *target) {
  int fs = k_fsopen(type, K_FSOPEN_CLOEXEC);
  if (fs < 0) fail("mount", target, "opening the file system \"%s\" for \"%s\"", type, target);
  if (source && *source && k_fsconfig(fs, K_FSCONFIG_SET_STRING, "source", source, 0))
    fail("mount", target, "mounting \"%s\" from \"%s\"", target, source);
  for (unsigned i = 0; options && i < options->data_count; i++) {
    char word[512];
    size_t length = strlen(options->data[i]);
    if (length >= sizeof word)
      fail_because(E2BIG, "mount", target, "mounting \"%s\": the option \"%.100s…\" is too long", target, options->data[i]);
    memcpy(word, options->data[i], length + 1);
    char *value = strchr(word, '=');
    if (value) *value++ = 0;
    if (k_fsconfig(fs, value ? K_FSCONFIG_SET_STRING : K_FSCONFIG_SET_FLAG, word, value, 0))
      fail("mount", target, "mounting \"%s\" (%s) with the option \"%s\"", target, type, options->data[i]);
  }
  if (k_fsconfig(fs, K_FSCONFIG_CREATE, NULL, NULL, 0)) fail("mount", target, "mounting \"%s\" (%s)", target, type);
  int fd = k_fsmount(fs, K_FSMOUNT_CLOEXEC, options ? (unsigned)options->attr_set : 0);
  if (fd < 0) fail("mount", target, "mounting \"%s\" (%s)", target, type);
  close(fs);
  return fd;
}

void mount_apply(int fd, const struct mount_options *options, const char *target) {
  struct k_mount_attr attr = {.set = options->attr_set, .clear = options->attr_clear};
  unsigned flags = K_AT_EMPTY_PATH | (options->recursive_attr ? K_AT_RECURSIVE : 0u);
  if ((attr.set || attr.clear) && k_mount_setattr(fd, "", flags, &attr))
    fail("mount", target, "setting the attributes of the mount \"%s\"", target);
  /* Private unless asked otherwise, so that nothing the container mounts reaches the host. */
  struct k_mount_attr spread = {.propagation = options->propagation ? options->propagation : MS_PRIVATE};
  flags = K_AT_EMPTY_PATH | (!options->propagation || options->propagation_recursive ? K_AT_RECURSIVE : 0u);
  if (k_mount_setattr(fd, "", flags, &spread)) fail("mount", target, "setting the propagation of the mount \"%s\"", target);
}

void mount_attach(int fd, int to, const char *target) {
  if (k_move_mount(fd, "", to, "", K_MOVE_FROM_EMPTY | K_MOVE_TO_EMPTY)) fail("mount", target, "mounting \"%s\"", target);
}
