#!/bin/sh
# The machines there are now, a line HOST:PROCESSES each, as Horovod asks for every second.
# This one reads them from a list that can be edited while a job runs.
cat "${HOSTS_FILE:-hosts.txt}"
