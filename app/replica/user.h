/* SPDX-License-Identifier: BSD-3-Clause */
/* user - giving up root: for a while, to open files as the user; and for good, once sockets are
 * bound. */
#ifndef PROPHECY_REPLICA_USER_H
#define PROPHECY_REPLICA_USER_H

#include <stdbool.h>
#include <sys/types.h>

/* Not group.h's: the system has a struct group of its own (grp.h). */
#define USER_ERROR_BYTES 1024u

struct user {
    bool given; // false: all functions do nothing
    uid_t uid;
    gid_t gid;
    const char *name;
};

bool user_find(const char *name, struct user *out, char err[USER_ERROR_BYTES]); // name NULL: none
/* Makes dir with mode 0700 for the user when it is missing. */
bool user_make_dir(const struct user *u, const char *dir, char err[USER_ERROR_BYTES]);
bool user_enter(const struct user *u, char err[USER_ERROR_BYTES]);
bool user_leave(const struct user *u, char err[USER_ERROR_BYTES]);
bool user_become(const struct user *u, char err[USER_ERROR_BYTES]);

#endif
