#include "log-file.h"
#include "failure.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 16 * 1024, BATCH = 32 * 1024 };

/* An unfinished line of each stream. Pages are touched only as far as they are used. */
static char line[2][PIECE];
static size_t line_length[2];
/* Encoded records on their way to the file. The longest record is a piece of which each byte takes six characters. */
static char batch[BATCH + 6 * PIECE + 256];
static size_t batch_length;
static bool complained;

static void open_file(struct log_file *log) {
  struct stat status;
  log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
  log->size = log->fd >= 0 && !fstat(log->fd, &status) ? status.st_size : 0;
}

void log_open(struct log_file *log, const char *path, long long max_size, int max_files) {
  *log = (struct log_file){path, max_size, max_files < 1 ? 1 : max_files, -1, 0};
  if (!path) return;
  open_file(log);
  if (log->fd < 0) fail("log", path, "opening the log \"%s\"", path);
}

void log_reopen(struct log_file *log) {
  if (!log->path) return;
  int before = log->fd;
  open_file(log);
  if (log->fd < 0) log->fd = before;
  else if (before >= 0) close(before);
}

void log_limit(struct log_file *log, long long max_size, int max_files) {
  if (max_files < 1) max_files = 1;
  for (int i = max_files; log->path && i < log->max_files; i++) {
    char old[4096];
    snprintf(old, sizeof old, "%s.%d", log->path, i);
    unlink(old);
  }
  log->max_size = max_size;
  log->max_files = max_files;
}

static void rotate(struct log_file *log) {
  char from[4096], to[4096];
  if (log->max_files == 1) {
    if (!ftruncate(log->fd, 0)) log->size = 0;
    return;
  }
  for (int i = log->max_files - 1; i > 0; i--) {
    snprintf(to, sizeof to, "%s.%d", log->path, i);
    if (i > 1) snprintf(from, sizeof from, "%s.%d", log->path, i - 1);
    else snprintf(from, sizeof from, "%s", log->path);
    if (rename(from, to) && errno != ENOENT && !complained) {
      complained = true;
      warning("the log \"%s\" cannot be rotated: %s", log->path, strerror(errno));
    }
  }
  log_reopen(log);
}

/* Of a batch of which `written` bytes fitted, the last record may be cut: it is taken back, so that the next is readable. */
static void take_back_cut(struct log_file *log, size_t written) {
  size_t whole = written;
  while (whole && batch[whole - 1] != '\n') whole--;
  long long size = log->size - (long long)(written - whole);
  if (whole < written && !ftruncate(log->fd, size)) log->size = size;
}

static void flush(struct log_file *log) {
  size_t at = 0;
  while (at < batch_length) {
    ssize_t n = write(log->fd, batch + at, batch_length - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      /* A full disk costs log lines, never the container. */
      if (!complained) warning("the log \"%s\" loses lines: %s", log->path, strerror(errno));
      complained = true;
      take_back_cut(log, at);
      break;
    }
    at += (size_t)n;
    log->size += n;
  }
  batch_length = 0;
}

/* Length of the UTF-8 sequence at `at`, 0 when it is none. */
static size_t sequence(const unsigned char *at, size_t length) {
  unsigned char c = *at;
  size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  if (!n || n > length) return 0;
  for (size_t i = 1; i < n; i++)
    if ((at[i] & 0xc0) != 0x80) return 0;
  if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f) || (c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] > 0x8f)) return 0;
  return n;
}

static char *put(char *out, const char *text) {
  size_t length = strlen(text);
  memcpy(out, text, length);
  return out + length;
}

/* As Go's encoding/json writes it, which Docker's readers know: <, > and & escaped, bad bytes replaced. */
static char *put_escaped(char *out, const unsigned char *data, size_t length) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < length;) {
    unsigned char c = data[i];
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&') {
      *out++ = (char)c;
      i++;
      continue;
    }
    size_t n = sequence(data + i, length - i);
    if (c >= 0x80) {
      if (!n) out = put(out, "\\ufffd"), i++;
      else if (n == 3 && c == 0xe2 && data[i + 1] == 0x80 && (data[i + 2] | 1) == 0xa9) {
        out = put(out, "\\u202");
        *out++ = digits[data[i + 2] & 15];
        i += 3;
      } else {
        memcpy(out, data + i, n);
        out += n;
        i += n;
      }
      continue;
    }
    i++;
    if (c == '"' || c == '\\') *out++ = '\\', *out++ = (char)c;
    else if (c == '\n') out = put(out, "\\n");
    else if (c == '\r') out = put(out, "\\r");
    else if (c == '\t') out = put(out, "\\t");
    else {
      out = put(out, "\\u00");
      *out++ = digits[c >> 4];
      *out++ = digits[c & 15];
    }
  }
  return out;
}

static char *put_two(char *out, int value) {
  *out++ = (char)('0' + value / 10);
  *out++ = (char)('0' + value % 10);
  return out;
}

/* RFC 3339 with nanoseconds, zeros at the end left out. */
static char *put_time(char *out) {
  struct timespec now;
  struct tm utc;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  out = put_two(put_two(out, (utc.tm_year + 1900) / 100), (utc.tm_year + 1900) % 100);
  *out++ = '-';
  out = put_two(out, utc.tm_mon + 1);
  *out++ = '-';
  out = put_two(out, utc.tm_mday);
  *out++ = 'T';
  out = put_two(out, utc.tm_hour);
  *out++ = ':';
  out = put_two(out, utc.tm_min);
  *out++ = ':';
  out = put_two(out, utc.tm_sec);
  long rest = now.tv_nsec;
  if (rest) *out++ = '.';
  for (long unit = 100000000; rest; unit /= 10) {
    *out++ = (char)('0' + rest / unit);
    rest %= unit;
  }
  *out++ = 'Z';
  return out;
}

static void record(struct log_file *log, int stream, const char *data, size_t length) {
  if (log->max_size > 0 && log->size + (long long)batch_length >= log->max_size) {
    flush(log);
    if (log->size >= log->max_size) rotate(log);
  }
  char *out = batch + batch_length;
  out = put(out, "{\"log\":\"");
  out = put_escaped(out, (const unsigned char *)data, length);
  out = put(out, stream ? "\",\"stream\":\"stderr\",\"time\":\"" : "\",\"stream\":\"stdout\",\"time\":\"");
  out = put_time(out);
  out = put(out, "\"}\n");
  batch_length = (size_t)(out - batch);
  if (batch_length >= BATCH) flush(log);
}

/* How much of a full piece to write, so that no character is cut in two. */
static size_t whole_characters(const char *data, size_t length) {
  for (size_t back = 1; back <= 3; back++) {
    unsigned char c = (unsigned char)data[length - back];
    if (c < 0x80) break;
    if (c >= 0xc0) {
      size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
      return n > back ? length - back : length;
    }
  }
  return length;
}

void log_write(struct log_file *log, int stream, const char *data, size_t length) {
  if (!log->path) return;
  while (length) {
    const char *newline = memchr(data, '\n', length);
    size_t n = newline ? (size_t)(newline - data) + 1 : length;
    if (!line_length[stream] && newline && n <= PIECE) {
      record(log, stream, data, n);
    } else {
      size_t room = PIECE - line_length[stream];
      if (n > room) n = room, newline = NULL;
      memcpy(line[stream] + line_length[stream], data, n);
      line_length[stream] += n;
      if (newline) {
        record(log, stream, line[stream], line_length[stream]);
        line_length[stream] = 0;
      } else if (line_length[stream] == PIECE) {
        size_t whole = whole_characters(line[stream], PIECE);
        record(log, stream, line[stream], whole);
        memmove(line[stream], line[stream] + whole, PIECE - whole);
        line_length[stream] = PIECE - whole;
      }
    }
    data += n;
    length -= n;
  }
  flush(log);
}

void log_finish(struct log_file *log) {
  if (!log->path) return;
  for (int stream = 0; stream < 2; stream++) {
    if (line_length[stream]) record(log, stream, line[stream], line_length[stream]);
    line_length[stream] = 0;
  }
  flush(log);
  /* Who hears of the end may take its file system away at once. */
  close(log->fd);
  log->fd = -1;
}
