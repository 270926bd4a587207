/* What a child that sets itself up tells its parent over a socket pair: a failure, a terminal, or (by the end of file that
   close-on-exec brings) that its program runs. */
#pragma once
#include "failure.h"
#include <stdbool.h>

/* Both ends close-on-exec; the child's end is [1]. */
void launch_channel(int ends[2]);
/* Waits for the outcome. True: the program was executed. *master is the terminal's, or -1. */
bool launch_wait(int socket, struct failure *failure, int *master);
/* In the child, through failure_pipe: the next thing is the program; an end without this word was a crash. */
void launch_ready(void);
enum { LAUNCH_READY = 'e', LAUNCH_TERMINAL = 't' };
/* In the child: dies with its parent, even when that is already gone. */
void launch_tie(int socket);
