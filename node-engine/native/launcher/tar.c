#include "archive.h"
#include "failure.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- writing: to standard output */

static char out[64 * 1024];
static size_t out_length;

static void flush(void) {
  for (size_t done = 0; done < out_length;) {
    ssize_t n = write(1, out + done, out_length - done);
    if (n < 0 && errno == EINTR) continue;
    /* Nobody reads any more: there is nobody to tell, either. */
    if (n < 0) _exit(1);
    done += (size_t)n;
  }
  out_length = 0;
}

void tar_write(const void *bytes, size_t length) {
  for (const char *from = bytes; length;) {
    size_t piece = sizeof out - out_length < length ? sizeof out - out_length : length;
    memcpy(out + out_length, from, piece);
    out_length += piece, from += piece, length -= piece;
    if (out_length == sizeof out) flush();
  }
}

static const char zeros[TAR_BLOCK * 2];

void tar_pad(int64_t size) {
  if (size % TAR_BLOCK) tar_write(zeros, (size_t)(TAR_BLOCK - size % TAR_BLOCK));
}

void tar_finish(void) {
  tar_write(zeros, sizeof zeros);
  flush();
}

/* "27 path=…\n": the number counts itself, too. */
static void pax_bytes(char *text, size_t size, size_t *length, const char *key, const void *value, size_t value_length) {
  size_t body = strlen(key) + value_length + 3, whole = body;
  char digits[32];
  do whole = body + (size_t)snprintf(digits, sizeof digits, "%zu", whole);
  while (whole != body + (size_t)snprintf(digits, sizeof digits, "%zu", whole));
  if (*length + whole + 1 > size) fail_because(ENAMETOOLONG, "archive", key, "writing an archive: an extended header is too long");
  *length += (size_t)snprintf(text + *length, size - *length, "%zu %s=", whole, key);
  memcpy(text + *length, value, value_length);
  *length += value_length;
  text[(*length)++] = '\n';
}

static void pax_record(char *text, size_t size, size_t *length, const char *key, const char *value) {
  pax_bytes(text, size, length, key, value, strlen(value));
}

static void pax_number(char *text, size_t size, size_t *length, const char *key, int64_t value) {
  char number[32];
  snprintf(number, sizeof number, "%lld", (long long)value);
  pax_record(text, size, length, key, number);
}

static bool fits(int64_t value, int digits) { return value >= 0 && value < (int64_t)1 << (3 * digits); }

static void octal(char *field, int size, int64_t value) {
  snprintf(field, (size_t)size, "%0*llo", size - 1, (unsigned long long)(fits(value, size - 1) ? value : 0));
}

static void write_block(const char *name, const char *link, const struct tar_entry *e, char type, int64_t size) {
  char block[TAR_BLOCK] = {0};
  size_t length = strlen(name), link_length = strlen(link);
  memcpy(block, name, length < 100 ? length : 100);
  octal(block + 100, 8, e->mode & 07777);
  octal(block + 108, 8, e->uid);
  octal(block + 116, 8, e->gid);
  octal(block + 124, 12, size);
  octal(block + 136, 12, e->mtime);
  memset(block + 148, ' ', 8);
  block[156] = type;
  memcpy(block + 157, link, link_length < 100 ? link_length : 100);
  memcpy(block + 257, "ustar\00000", 8);
  octal(block + 329, 8, e->major);
  octal(block + 337, 8, e->minor);
  unsigned sum = 0;
  for (int i = 0; i < TAR_BLOCK; i++) sum += (unsigned char)block[i];
  snprintf(block + 148, 8, "%06o", sum);
  block[155] = ' ';
  tar_write(block, sizeof block);
}

bool tar_add_xattr(struct tar_entry *e, const char *name, const void *value, size_t length) {
  size_t name_length = strlen(name) + 1;
  uint32_t count = (uint32_t)length;
  if (name_length + sizeof count + length > sizeof e->xattrs - e->xattrs_length) return false;
  char *to = e->xattrs + e->xattrs_length;
  memcpy(to, name, name_length);
  memcpy(to + name_length, &count, sizeof count);
  memcpy(to + name_length + sizeof count, value, length);
  e->xattrs_length += name_length + sizeof count + length;
  return true;
}

const char *tar_next_xattr(const struct tar_entry *e, size_t *at, const void **value, size_t *length) {
  if (*at >= e->xattrs_length) return NULL;
  const char *name = e->xattrs + *at;
  uint32_t count;
  memcpy(&count, name + strlen(name) + 1, sizeof count);
  *value = name + strlen(name) + 1 + sizeof count;
  *length = count;
  *at = (size_t)((const char *)*value - e->xattrs) + count;
  return name;
}

/* As star, GNU tar and Docker name extended attributes in pax headers. */
#define XATTR_KEY "SCHILY.xattr."

void tar_write_header(const struct tar_entry *e) {
  static char pax[2 * 8192 + 48 * 1024];
  size_t length = 0;
  if (strlen(e->name) > 100) pax_record(pax, sizeof pax, &length, "path", e->name);
  if (strlen(e->link) > 100) pax_record(pax, sizeof pax, &length, "linkpath", e->link);
  if (!fits(e->size, 11)) pax_number(pax, sizeof pax, &length, "size", e->size);
  if (!fits(e->uid, 7)) pax_number(pax, sizeof pax, &length, "uid", e->uid);
  if (!fits(e->gid, 7)) pax_number(pax, sizeof pax, &length, "gid", e->gid);
  if (!fits(e->mtime, 11)) pax_number(pax, sizeof pax, &length, "mtime", e->mtime);
  const void *value;
  size_t value_length, at = 0;
  for (const char *name; (name = tar_next_xattr(e, &at, &value, &value_length));) {
    char key[300];
    snprintf(key, sizeof key, XATTR_KEY "%.255s", name);
    pax_bytes(pax, sizeof pax, &length, key, value, value_length);
  }
  if (length) {
    /* Not a constant: that would be 48 kB of the program, which every container's supervisor has in memory. */
    static struct tar_entry header;
    header.mode = 0644;
    write_block("././@PaxHeader", "", &header, 'x', (int64_t)length);
    tar_write(pax, length);
    tar_pad((int64_t)length);
  }
  write_block(e->name, e->link, e, e->type, e->size);
}

/* ---- reading: from standard input */

static char in[64 * 1024];
static size_t in_start, in_end;
/* Of the entry: content that is not read yet, and what fills its last block. */
static int64_t left, padding;

static size_t take(void *bytes, size_t size) {
  if (in_start == in_end) {
    ssize_t n;
    while ((n = read(0, in, sizeof in)) < 0 && errno == EINTR) {}
    if (n < 0) fail("archive", NULL, "reading the archive");
    in_start = 0, in_end = (size_t)n;
  }
  size_t piece = in_end - in_start < size ? in_end - in_start : size;
  memcpy(bytes, in + in_start, piece);
  in_start += piece;
  return piece;
}

static _Noreturn void torn(void) {
  fail_because(EINVAL, "archive", NULL, "reading the archive: it ends in the middle");
}

/* False when there is nothing at all any more. */
static bool take_all(void *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    size_t n = take((char *)bytes + done, size - done);
    if (!n && done) torn();
    if (!n) return false;
    done += n;
  }
  return true;
}

static void skip(int64_t count) {
  for (char waste[4096]; count > 0;) {
    size_t n = take(waste, count < (int64_t)sizeof waste ? (size_t)count : sizeof waste);
    if (!n) torn();
    count -= (int64_t)n;
  }
}

size_t tar_read(void *bytes, size_t size) {
  if (left == 0) return 0;
  size_t n = take(bytes, left < (int64_t)size ? (size_t)left : size);
  if (!n) torn();
  left -= (int64_t)n;
  return n;
}

void tar_drain(void) {
  for (char waste[4096]; take(waste, sizeof waste);) {}
}

/* Octal digits, or GNU's big-endian number behind a set first bit. */
static int64_t number(const char *field, int size) {
  int64_t value = 0;
  if ((unsigned char)field[0] & 0x80) {
    value = field[0] & 0x40 ? -1 : field[0] & 0x3f;
    for (int i = 1; i < size; i++) value = (int64_t)((uint64_t)value << 8) | (unsigned char)field[i];
    return value;
  }
  for (int i = 0; i < size; i++)
    if (field[i] >= '0' && field[i] <= '7') value = value * 8 + (field[i] - '0');
    else if (field[i] != ' ') break;
  return value;
}

static void copy_text(char *to, size_t size, const char *from, size_t length, const char *what) {
  if (length >= size) fail_because(ENAMETOOLONG, "archive", NULL, "reading the archive: a %s is too long", what);
  memcpy(to, from, length);
  to[length] = 0;
}

/* What extended headers say about the next entry; extended attributes are put into the entry at once. */
struct extension {
  char name[8192], link[8192];
  bool has_size, has_uid, has_gid, has_mtime;
  int64_t size, uid, gid, mtime;
};

static void read_pax(char *text, size_t length, struct extension *x, struct tar_entry *e) {
  for (char *at = text, *end = text + length; at < end;) {
    char *space;
    unsigned long whole = strtoul(at, &space, 10);
    char *equals = memchr(space, '=', (size_t)(end - space));
    if (*space != ' ' || whole < 5 || whole > (size_t)(end - at) || !equals || equals >= at + whole || at[whole - 1] != '\n')
      fail_because(EINVAL, "archive", NULL, "reading the archive: an extended header is malformed");
    char *value = equals + 1;
    size_t value_length = (size_t)(at + whole - 1 - value);
    at[whole - 1] = *equals = 0;
    const char *key = space + 1;
    if (!strcmp(key, "path")) copy_text(x->name, sizeof x->name, value, value_length, "name");
    if (!strcmp(key, "linkpath")) copy_text(x->link, sizeof x->link, value, value_length, "link");
    if (!strcmp(key, "size")) x->has_size = true, x->size = strtoll(value, NULL, 10);
    if (!strcmp(key, "uid")) x->has_uid = true, x->uid = strtoll(value, NULL, 10);
    if (!strcmp(key, "gid")) x->has_gid = true, x->gid = strtoll(value, NULL, 10);
    if (!strcmp(key, "mtime")) x->has_mtime = true, x->mtime = strtoll(value, NULL, 10);
    size_t prefix = sizeof XATTR_KEY - 1;
    if (!strncmp(key, XATTR_KEY, prefix) && strlen(key) < 256 + prefix && archive_keeps_xattr(key + prefix) &&
        !tar_add_xattr(e, key + prefix, value, value_length))
      fail_because(E2BIG, "archive", NULL, "reading the archive: a file has too many extended attributes");
    at += whole;
  }
}

static size_t field_length(const char *field, size_t size) { return strnlen(field, size); }

bool tar_read_header(struct tar_entry *e) {
  static struct extension x;
  static char text[64 * 1024];
  skip(left + padding);
  left = padding = 0;
  memset(&x, 0, sizeof x);
  e->xattrs_length = 0;
  for (;;) {
    char block[TAR_BLOCK];
    if (!take_all(block, sizeof block)) return false;
    if (!memcmp(block, zeros, sizeof block)) return false;
    unsigned sum = 0;
    for (int i = 0; i < TAR_BLOCK; i++) sum += i >= 148 && i < 156 ? ' ' : (unsigned char)block[i];
    if ((int64_t)sum != number(block + 148, 8))
      fail_because(EINVAL, "archive", NULL, "reading the archive: it is no tar archive, or damaged (a check sum is wrong)");
    int64_t size = number(block + 124, 12);
    char type = block[156];
    if (size < 0) fail_because(EINVAL, "archive", NULL, "reading the archive: a size is negative");
    if (type == 'x' || type == 'g' || type == 'L' || type == 'K') {
      if (size >= (int64_t)sizeof text) fail_because(EINVAL, "archive", NULL, "reading the archive: an extended header is too long");
      if (size && !take_all(text, (size_t)size)) torn();
      text[size] = 0;
      skip((TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
      if (type == 'x') read_pax(text, (size_t)size, &x, e);
      if (type == 'L') copy_text(x.name, sizeof x.name, text, strlen(text), "name");
      if (type == 'K') copy_text(x.link, sizeof x.link, text, strlen(text), "link");
      continue;
    }
    char *name = e->name;
    name[0] = 0;
    /* POSIX's prefix; GNU's archives have other things there. */
    if (!memcmp(block + 257, "ustar\0", 6) && block[345]) {
      size_t prefix = field_length(block + 345, 155);
      memcpy(name, block + 345, prefix);
      name[prefix] = '/';
      name += prefix + 1;
    }
    size_t length = field_length(block, 100);
    memcpy(name, block, length);
    name[length] = 0;
    length = field_length(block + 157, 100);
    memcpy(e->link, block + 157, length);
    e->link[length] = 0;
    if (x.name[0]) strcpy(e->name, x.name);
    if (x.link[0]) strcpy(e->link, x.link);
    e->type = type == 0 || type == '7' ? '0' : type;
    e->mode = (unsigned)number(block + 100, 8) & 07777;
    e->uid = x.has_uid ? x.uid : number(block + 108, 8);
    e->gid = x.has_gid ? x.gid : number(block + 116, 8);
    e->size = x.has_size ? x.size : size;
    e->mtime = x.has_mtime ? x.mtime : number(block + 136, 12);
    e->major = (unsigned)number(block + 329, 8);
    e->minor = (unsigned)number(block + 337, 8);
    if (e->size < 0) fail_because(EINVAL, "archive", NULL, "reading the archive: a size is negative");
    size_t whole = strlen(e->name);
    if (e->type == '0' && whole && e->name[whole - 1] == '/') e->type = '5';
    if (e->type == '0') left = e->size;
    else skip(e->size + (TAR_BLOCK - e->size % TAR_BLOCK) % TAR_BLOCK);
    padding = e->type == '0' ? (TAR_BLOCK - e->size % TAR_BLOCK) % TAR_BLOCK : 0;
    return true;
  }
}
