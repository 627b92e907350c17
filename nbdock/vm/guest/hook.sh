# bash reads this before a script: where a command fails, its line is noted.
unset BASH_ENV
set -E
# All on one line, for bash counts the lines of a trap to those of the script.
trap 'case ${BASH_SOURCE[0]} in */.nbdock/script) echo "$? $LINENO" ;; *) echo "$? ${BASH_LINENO[-2]}" ;; esac >/dev/.nbdock.said' ERR
