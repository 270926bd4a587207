/* Paths inside a container's root, which the image and other containers may change under us: every lookup is confined to the root. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Opens `path` under the root directory fd; symbolic links stay inside, magic links are refused. -1 with errno. */
int resolve_open(int root, const char *path, int flags);
/* Opens `path` O_PATH and makes what is missing: directories on the way, and a directory or an empty file at the end. */
int resolve_create(int root, const char *path, bool directory);

/* Marks files that were made only to mount something there, for who takes that away. Without it (a file system has no such attributes) they stay. */
#define MOUNT_POINT_MARK "trusted.tsswarm.mount-point"
/* Writes a whole value to a file that exists, -1 with errno. */
int write_file(int dir, const char *path, const char *value);
/* Reads at most size-1 bytes of a small file and ends them with NUL; length or -1. */
ssize_t read_file(int dir, const char *path, char *out, size_t size);
/* Field 22 of /proc/PID/stat: with the pid it identifies a process for as long as the machine runs. 0 when there is none. */
uint64_t process_start_time(int pid);
