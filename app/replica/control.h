/* SPDX-License-Identifier: BSD-3-Clause */
/* control - the unix socket that tells status and counters, one JSON object per connection. */
#ifndef PROPHECY_REPLICA_CONTROL_H
#define PROPHECY_REPLICA_CONTROL_H

#include "node.h"

struct control *control_open(struct node *n, const char *path, const struct user *owner,
                             char err[GROUP_ERROR_BYTES]);
void control_close(struct control *c);

#endif
