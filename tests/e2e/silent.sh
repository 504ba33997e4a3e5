#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Replicas that fall silent: the web server of one, then the agreement of one backup, then one altogether.
. "$(dirname "$0")/e2e.sh"
up nginx -- "response-timeout-ms = 300" "connect-timeout-ms = 300"
fetch_all 2
is $WRONG 0 "wrong bodies before"

# Its web server hangs: reads time out there and go through agreement, which needs 2f+1 to order and f+1 to
# answer; the replica leaves the candidate set.
lab_signal nginx3 STOP
fetch_all 2
is $WRONG 0 "wrong bodies with a hanging web server"
at_least "$(counter replicas 3.timeouts)" 1
eventually counter_is replicas 3.candidate 0
is "$(counter replicas 0.candidate 1.candidate 2.candidate)" "1 1 1"
lab_signal nginx3 CONT
eventually counter_is replicas 3.candidate 1

# Its web server is gone: connections are refused.
lab_stop nginx1
fetch_all 2
is $WRONG 0 "wrong bodies without a web server"
eventually counter_is replicas 1.candidate 0
at_least "$(counter replicas 1.failures)" 1
lab_nginx 1
eventually counter_is replicas 1.candidate 1

# A backup of the agreement stops; reads that nobody made before still find 2f+1.
lab_signal replica2 STOP
clients curl -sS --max-time 30 -o /dev/null "$URL/page[0-39].html?with-one-stopped" || fail curl
is "$(counter stats agreement_timeouts disagreed)" "0 0"
lab_signal replica2 CONT
eventually eval '[ "$(lab_replica_counter 2 executed)" = "$(lab_replica_counter 0 executed)" ]'

# The cable of a backup is pulled, and put back in.
lab_unplug 2
fetch_all 1
clients curl -sS --max-time 30 -o /dev/null "$URL/page[0-39].html?with-one-unplugged" || fail curl
is $WRONG 0 "wrong bodies with a cable pulled"
lab_plug 2
eventually counter_is replicas 2.candidate 1
eventually eval '[ "$(lab_replica_counter 2 executed)" = "$(lab_replica_counter 0 executed)" ]'
fetch_all 1
is $WRONG 0 "wrong bodies after"
is "$(counter replicas 0.named 1.named 2.named 3.named)" "0 0 0 0" # silence is not a lie
finish
