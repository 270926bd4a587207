/* Pseudo-terminals made inside the container's own devpts, so that it can open /dev/pts/0 and ttyname(3) works. */
#pragma once
#include "json.h"
#include <sys/types.h>

struct terminal {
  int master, slave;
};

/* In the container: makes the pair, gives the slave to the user, sets its size from process.consoleSize. */
struct terminal terminal_make(const struct json *process, uid_t uid, int root);
/* Binds the slave over /dev/console. */
void terminal_bind_console(const struct terminal *terminal, int root);
/* New session with the slave as controlling terminal and as stdin, stdout and stderr. */
void terminal_control(const struct terminal *terminal);
void terminal_resize(int master, unsigned columns, unsigned rows);
/* Sends or takes one fd over a unix socket with `kind` beside it. Receive: the fd, or -1; *kind 0 at the end. */
int send_fd(int socket, int fd, char kind);
