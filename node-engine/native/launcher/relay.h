/* What stays outside beside an exec'ed command: copies its streams where that is needed, passes signals on, waits. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

struct streams {
  int fd[3]; /* what becomes 0, 1, 2 of the program; -1 with a terminal */
};
/* Gives pipes to the user, so that it can open /dev/stdout again. Pipes only: never a device of the host. */
void streams_own(const struct streams *streams, uid_t uid);
void streams_become(const struct streams *streams);
void streams_close(struct streams *streams);

struct relay {
  int from[3], to[3]; /* copied from → to, by stream; -1: not copied */
  int signals;        /* signalfd */
  bool terminal;
};

/* Sockets are replaced by pipes with a relay, because /dev/stdout on a socket cannot be opened; other files go through. */
struct streams relay_prepare(struct relay *relay, bool terminal);
void relay_block_signals(struct relay *relay);
/* Serves until the command has ended; its exit code, or 128 + signal. `sizes`: frames of terminal sizes come on fd 3. */
int relay_serve(struct relay *relay, pid_t command, int master, bool sizes);
