#include "json.h"
#include "failure.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* HEAD: what a chunk's own header takes, rounded for alignment. */
enum { CHUNK = 64 * 1024, HEAD = 32, DEEPEST = 64, LARGEST_FILE = 8 * 1024 * 1024 };

struct chunk {
  struct chunk *before;
  size_t size, used;
};
static struct chunk *chunks;

void *json_allocate(size_t size) {
  size = (size + 15) & ~(size_t)15;
  if (!chunks || chunks->size - chunks->used < size) {
    size_t wanted = size + HEAD > CHUNK ? size + HEAD : CHUNK;
    struct chunk *chunk = mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED) fail("config", NULL, "reserving memory for the configuration");
    *chunk = (struct chunk){chunks, wanted, HEAD};
    chunks = chunk;
  }
  void *memory = (char *)chunks + chunks->used;
  chunks->used += size;
  return memory;
}

void json_free_all(void) {
  while (chunks) {
    struct chunk *before = chunks->before;
    munmap(chunks, chunks->size);
    chunks = before;
  }
}

struct reader {
  char *at, *end;
  const char *reason;
};

static void skip_space(struct reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
}

static int hex4(struct reader *r) {
  int value = 0;
  if (r->end - r->at < 4) return -1;
  for (int i = 0; i < 4; i++) {
    char c = *r->at++;
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

static char *put_utf8(char *out, unsigned code) {
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6);
    *out++ = (char)(0x80 | (code & 63));
  } else if (code < 0x10000) {
    *out++ = (char)(0xe0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 63));
    *out++ = (char)(0x80 | (code & 63));
  } else {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 63));
    *out++ = (char)(0x80 | (code >> 6 & 63));
    *out++ = (char)(0x80 | (code & 63));
  }
  return out;
}

/* At the character after the opening quote; the decoded text is never longer than the encoded one. */
static char *read_string(struct reader *r) {
  char *start = r->at, *out = r->at;
  while (r->at < r->end) {
    unsigned char c = (unsigned char)*r->at++;
    if (c == '"') {
      *out = 0;
      return start;
    }
    if (c < 0x20) break;
    if (c != '\\') {
      *out++ = (char)c;
      continue;
    }
    if (r->at >= r->end) break;
    c = (unsigned char)*r->at++;
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
      *out++ = to[simple - from];
      continue;
    }
    if (c != 'u') break;
    int code = hex4(r);
    if (code >= 0xd800 && code < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
      r->at += 2;
      int low = hex4(r);
      if (low < 0xdc00 || low > 0xdfff) break;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    /* A NUL would cut the value short for the kernel: refused, as is a lone surrogate. */
    if (code <= 0 || (code >= 0xd800 && code < 0xe000)) break;
    out = put_utf8(out, (unsigned)code);
  }
  r->reason = "a string is malformed";
  return NULL;
}

static bool read_word(struct reader *r, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length)) return false;
  r->at += length;
  return true;
}

static bool read_number(struct reader *r, struct json *node) {
  node->type = JSON_NUMBER;
  if (*r->at == '-') {
    node->negative = true;
    r->at++;
  }
  char *digits = r->at;
  while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
    unsigned digit = (unsigned)(*r->at++ - '0');
    if (node->magnitude > (UINT64_MAX - digit) / 10) return false;
    node->magnitude = node->magnitude * 10 + digit;
  }
  /* No field of the runtime specification that we read is a fraction. */
  return r->at > digits && !(r->at < r->end && (*r->at == '.' || (*r->at | 32) == 'e'));
}

static struct json *read_value(struct reader *r, int depth) {
  skip_space(r);
  if (r->at >= r->end || depth > DEEPEST) {
    r->reason = depth > DEEPEST ? "it is nested too deeply" : "it ends too early";
    return NULL;
  }
  struct json *node = json_allocate(sizeof *node);
  memset(node, 0, sizeof *node);
  char c = *r->at;
  if (c == '"') {
    r->at++;
    node->type = JSON_STRING;
    return (node->string = read_string(r)) ? node : NULL;
  }
  if (c == '-' || (c >= '0' && c <= '9')) {
    if (read_number(r, node)) return node;
    r->reason = "a number is not a whole number of 64 bits";
    return NULL;
  }
  if (c == '{' || c == '[') {
    char close = c == '{' ? '}' : ']';
    node->type = c == '{' ? JSON_OBJECT : JSON_ARRAY;
    struct json **last = &node->first;
    r->at++;
    skip_space(r);
    if (r->at < r->end && *r->at == close) {
      r->at++;
      return node;
    }
    for (;;) {
      const char *key = NULL;
      skip_space(r);
      if (close == '}') {
        if (r->at >= r->end || *r->at != '"') break;
        r->at++;
        if (!(key = read_string(r))) return NULL;
        skip_space(r);
        if (r->at >= r->end || *r->at++ != ':') break;
      }
      struct json *child = read_value(r, depth + 1);
      if (!child) return NULL;
      child->key = key;
      *last = child;
      last = &child->next;
      node->count++;
      skip_space(r);
      if (r->at >= r->end) break;
      char after = *r->at++;
      if (after == close) return node;
      if (after != ',') break;
    }
    r->reason = "an object or array is malformed";
    return NULL;
  }
  if (read_word(r, "true")) node->type = JSON_TRUE;
  else if (read_word(r, "false")) node->type = JSON_FALSE;
  else if (!read_word(r, "null")) {
    r->reason = "a word is none of true, false, null";
    return NULL;
  }
  return node;
}

const struct json *json_parse(char *text, size_t length, const char **reason) {
  struct reader r = {text, text + length, NULL};
  struct json *node = read_value(&r, 0);
  skip_space(&r);
  if (node && r.at != r.end) {
    node = NULL;
    r.reason = "something follows the value";
  }
  *reason = r.reason;
  return node;
}

const struct json *json_load(int dir, const char *name) {
  int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("config", name, "opening \"%s\"", name);
  struct stat status;
  if (fstat(fd, &status)) fail("config", name, "reading \"%s\"", name);
  if (!S_ISREG(status.st_mode) || status.st_size > LARGEST_FILE)
    fail_because(EINVAL, "config", name, "reading \"%s\": not a regular file of at most 8 MiB", name);
  char *text = json_allocate((size_t)status.st_size + 1);
  size_t length = 0;
  while (length < (size_t)status.st_size) {
    ssize_t n = read(fd, text + length, (size_t)status.st_size - length);
    if (n < 0) fail("config", name, "reading \"%s\"", name);
    if (n == 0) break;
    length += (size_t)n;
  }
  close(fd);
  const char *reason = NULL;
  const struct json *node = json_parse(text, length, &reason);
  if (!node || node->type != JSON_OBJECT)
    fail_because(EINVAL, "config", name, "reading \"%s\": not a JSON object: %s", name, reason ? reason : "another type");
  return node;
}

const struct json *json_get(const struct json *object, const char *key) {
  if (!object || object->type != JSON_OBJECT) return NULL;
  json_each(member, object) if (!strcmp(member->key, key)) return member->type == JSON_NULL ? NULL : member;
  return NULL;
}

static const struct json *expect(const struct json *object, const char *key, enum json_type type, const char *what) {
  const struct json *value = json_get(object, key);
  if (value && value->type != type)
    fail_because(EINVAL, "config", key, "reading the configuration: \"%s\" is not %s", key, what);
  return value;
}

const char *json_string(const struct json *object, const char *key) {
  const struct json *value = expect(object, key, JSON_STRING, "a string");
  return value ? value->string : NULL;
}

int64_t json_value_integer(const struct json *value) {
  if (value->negative) return value->magnitude > INT64_MAX ? INT64_MIN : -(int64_t)value->magnitude;
  return value->magnitude > INT64_MAX ? INT64_MAX : (int64_t)value->magnitude;
}

int64_t json_integer(const struct json *object, const char *key, int64_t otherwise) {
  const struct json *value = expect(object, key, JSON_NUMBER, "a number");
  return value ? json_value_integer(value) : otherwise;
}

bool json_true(const struct json *object, const char *key) {
  const struct json *value = json_get(object, key);
  if (value && value->type != JSON_TRUE && value->type != JSON_FALSE)
    fail_because(EINVAL, "config", key, "reading the configuration: \"%s\" is neither true nor false", key);
  return value && value->type == JSON_TRUE;
}

char **json_strings(const struct json *object, const char *key, unsigned *count) {
  const struct json *list = expect(object, key, JSON_ARRAY, "a list");
  char **strings = json_allocate(((list ? list->count : 0) + 1) * sizeof *strings);
  unsigned n = 0;
  json_each(item, list) {
    if (item->type != JSON_STRING)
      fail_because(EINVAL, "config", key, "reading the configuration: \"%s\" has an element that is not a string", key);
    strings[n++] = (char *)item->string;
  }
  strings[n] = NULL;
  if (count) *count = n;
  return strings;
}

void json_quote(char *out, size_t size, const char *text) {
  size_t n = 0;
  out[n++] = '"';
  for (; *text && n + 8 < size; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') {
      out[n++] = '\\';
      out[n++] = (char)c;
    } else if (c < 0x20 || c == 0x7f) {
      n += (size_t)snprintf(out + n, size - n, "\\u%04x", c);
    } else {
      out[n++] = (char)c;
    }
  }
  out[n++] = '"';
  out[n] = 0;
}
