/* Docker's json-file log: one JSON object a line, rotated by size. Writing never stalls and never fails the container. */
#pragma once
#include <stddef.h>

struct log_file {
  const char *path; /* NULL: nothing is kept */
  long long max_size; /* bytes; 0: never rotated */
  int max_files;
  int fd;
  long long size;
};

/* Opens the file for appending; fails the launch when it cannot be. */
void log_open(struct log_file *log, const char *path, long long max_size, int max_files);
/* Takes bytes of a stream (0 stdout, 1 stderr); whole lines, and pieces of 16 KiB of longer ones, become records. */
void log_write(struct log_file *log, int stream, const char *data, size_t length);
/* Writes what is left of unfinished lines. */
void log_finish(struct log_file *log);
/* Other sizes from now on; files beyond the new number are removed. */
void log_limit(struct log_file *log, long long max_size, int max_files);
/* After somebody else moved the file away. */
void log_reopen(struct log_file *log);
