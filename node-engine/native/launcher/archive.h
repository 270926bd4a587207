/* Copying files out of and into a container: tar archives (POSIX.1-2001, pax) of what is below a root that its owner may change
   under us. Every lookup is confined to the root, and no link that was there is followed on the way down. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct archive_options {
  /* The root: of a running container, of a stopped one by its config.json, or a directory. One of the three. */
  const char *run_dir, *config, *root;
  /* Where a stopped container's root is mounted, in a mount namespace of our own. */
  const char *stage;
  const char *path;
  /* pack: the name that the file or directory has in the archive. */
  const char *name;
  bool follow, owners;
};
int archive_stat(const struct archive_options *options);
int archive_pack(const struct archive_options *options);
int archive_unpack(const struct archive_options *options);

/* unpack.c: what comes on standard input, below `folder`, which exists. */
int archive_unpack_below(int root, const char *folder, bool owners);

/* Those that are copied: what users write, and capabilities of programs. */
bool archive_keeps_xattr(const char *name);

/* tar.c */
struct tar_entry {
  char name[8192], link[8192];
  /* '0' file, '1' hard link, '2' symbolic link, '3' character, '4' block, '5' directory, '6' fifo */
  char type;
  unsigned mode, major, minor;
  int64_t uid, gid, size, mtime;
  /* Extended attributes, one after the other: name, a zero, length of the value (uint32_t), value. */
  char xattrs[32 * 1024];
  size_t xattrs_length;
};
/* Remembers one; false: there is no room for it. */
bool tar_add_xattr(struct tar_entry *entry, const char *name, const void *value, size_t length);
/* The one at `*at`, which goes on to the next; NULL behind the last. */
const char *tar_next_xattr(const struct tar_entry *entry, size_t *at, const void **value, size_t *length);
enum { TAR_BLOCK = 512 };
void tar_write_header(const struct tar_entry *entry);
/* Content in pieces, then `tar_pad` with its whole size. */
void tar_write(const void *bytes, size_t length);
void tar_pad(int64_t size);
void tar_finish(void);
/* False at the end of the archive. What is left of the entry before is skipped. */
bool tar_read_header(struct tar_entry *entry);
/* A piece of the entry's content; 0 at its end. */
size_t tar_read(void *bytes, size_t size);
/* Reads what follows the archive: a writer must be able to say it all. */
void tar_drain(void);
