/* SPDX-License-Identifier: BSD-3-Clause */
/* prophecy-replica: one replica of a group, an ordinary Linux process on each replica host. */
#include "node.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

static int refuse(const char *err, int status) {
    fprintf(stderr, "prophecy-replica: %s\n", err);
    return status;
}

static int keygen(const struct options *o) {
    struct group g;
    char err[GROUP_ERROR_BYTES];
    if (!group_read(o->group, &g, err) || !group_keygen(&g, o->out, err))
        return refuse(err, 1);
    fprintf(stderr, "prophecy-replica: made %u key files in %s\n", g.replicas + g.clients, o->out);
    return 0;
}

static int run(const struct options *o) {
    static struct node n;
    char err[GROUP_ERROR_BYTES];
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    if (!node_start(&n, o, err))
        return refuse(err, 1);
    int status = node_run(&n);
    node_stop(&n);
    return status;
}

int main(int argc, char **argv) {
    struct options o;
    char err[GROUP_ERROR_BYTES];
    if (!options_parse(argc, argv, &o, err))
        return refuse(err, 2);
    switch (o.command) {
    case COMMAND_HELP:
        options_help();
        return 0;
    case COMMAND_VERSION:
        puts("prophecy-replica " PROPHECY_VERSION);
        return 0;
    case COMMAND_KEYGEN:
        return keygen(&o);
    case COMMAND_RUN:
        return run(&o);
    }
    return 1;
}
