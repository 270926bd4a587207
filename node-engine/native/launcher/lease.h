/* The node's lease: a moment that the daemon moves on as long as a manager lets it. Who is tied to it does not outlive it. */
#pragma once
#include <stdbool.h>

/* Opens the file with the lease: eight bytes, milliseconds of CLOCK_BOOTTIME in the machine's byte order, all ones for no end. */
int lease_open(const char *path);
/* Whether it is over, or cannot be read. */
bool lease_is_over(int file);
/* A timer to look again by, which has been set for the first time. */
int lease_timer(int file);
/* Sets the timer anew: for the end of the lease, and a second from now at the latest, as a lease without end may get one. */
void lease_watch(int timer, int file);
