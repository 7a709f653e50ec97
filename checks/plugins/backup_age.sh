#!/bin/sh
# Is the newest file in a directory young enough?  backup_age.sh DIRECTORY WARNING_HOURS CRITICAL_HOURS
#
# A plug-in in the way of Nagios: one line of text, a bar, performance data, and the exit code
# 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN: it could not be found out).

directory=$1 warning=$2 critical=$3

unknown() {
    echo "UNKNOWN - $1"
    exit 3
}

[ $# -eq 3 ] || unknown "usage: backup_age.sh DIRECTORY WARNING_HOURS CRITICAL_HOURS"
case $warning$critical in
*[!0-9]*) unknown "hours are whole numbers" ;;
esac
[ -r "$directory" ] || unknown "the directory cannot be read"

newest=$(find "$directory" -type f -printf '%T@\n' | sort -n | tail -n 1)
[ -n "$newest" ] || {
    echo "CRITICAL - there is no backup at all"
    exit 2
}
hours=$((($(date +%s) - ${newest%.*}) / 3600))
data="age=$((hours * 3600))s;$((warning * 3600));$((critical * 3600));0"

if [ "$hours" -ge "$critical" ]; then
    echo "CRITICAL - the newest backup is $hours h old | $data"
    exit 2
elif [ "$hours" -ge "$warning" ]; then
    echo "WARNING - the newest backup is $hours h old | $data"
    exit 1
fi
echo "OK - the newest backup is $hours h old | $data"
