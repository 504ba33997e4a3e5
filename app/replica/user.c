/* SPDX-License-Identifier: BSD-3-Clause */
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool user_error(const struct user *u, char err[USER_ERROR_BYTES]) {
    snprintf(err, USER_ERROR_BYTES, "--user: cannot become %s: %s", u->name, strerror(errno));
    return false;
}

bool user_find(const char *name, struct user *out, char err[USER_ERROR_BYTES]) {
    *out = (struct user){.name = name};
    if (name == NULL)
        return true;
    const struct passwd *p = getpwnam(name);
    if (p == NULL) {
        snprintf(err, USER_ERROR_BYTES, "--user: there is no user '%.64s'", name);
        return false;
    }
    if (geteuid() != 0) {
        snprintf(err, USER_ERROR_BYTES, "--user: only root can become another user");
        return false;
    }
    out->given = true;
    out->uid = p->pw_uid;
    out->gid = p->pw_gid;
    return true;
}

bool user_make_dir(const struct user *u, const char *dir, char err[USER_ERROR_BYTES]) {
    if (!u->given || access(dir, F_OK) == 0)
        return true;
    if (mkdir(dir, 0700) == 0 && chown(dir, u->uid, u->gid) == 0)
        return true;
    snprintf(err, USER_ERROR_BYTES, "%s: cannot be made: %s", dir, strerror(errno));
    return false;
}

bool user_enter(const struct user *u, char err[USER_ERROR_BYTES]) {
    return !u->given || (setegid(u->gid) == 0 && seteuid(u->uid) == 0) || user_error(u, err);
}

bool user_leave(const struct user *u, char err[USER_ERROR_BYTES]) {
    return !u->given || (seteuid(0) == 0 && setegid(0) == 0) || user_error(u, err);
}

bool user_become(const struct user *u, char err[USER_ERROR_BYTES]) {
    if (!u->given)
        return true;
    if (setgroups(0, NULL) != 0 || setresgid(u->gid, u->gid, u->gid) != 0 ||
        setresuid(u->uid, u->uid, u->uid) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return user_error(u, err);
    return true;
}
