#!/bin/sh
# Uploads a backup of any size in parts, and waits until it is taken in. Needs curl and nothing else.
#   LCP_USER=user@domain.com:password sh upload.sh https://<HOST-NAME> database.tgz volume.tgz
# Neither the password nor a signed URL is on a command line, where others of the machine see it.
set -eu
api=$1 database=$2 volume=$3
login=$(printf %s "$LCP_USER" | sed 's/[\\"]/\\&/g')
call() { printf 'user = "%s"\n' "$login" | curl -sS --fail-with-body -K - -X "$@"; }
field() { tr '{},' '\n\n\n' | sed -n "s/^ *\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }
size() { wc -c <"$1" | tr -d ' '; }

opened=$(call POST "$api/backup/upload" -H 'Content-Type: application/json' \
  -d "{\"database\": {\"size\": $(size "$database")}, \"volume\": {\"size\": $(size "$volume")}}")
id=$(printf %s "$opened" | field upload_id)
printf %s "$opened" | tr '{},' '\n\n\n' | awk -F'"' '
  $2 == "database" || $2 == "volume" { file = $2; offset = 0 }
  $2 == "offset" || $2 == "size" { value = $3; gsub(/[^0-9]/, "", value) }
  $2 == "offset" { offset = value }  $2 == "size" { size = value }
  $2 == "url" && $4 { print file, offset, size, $4 }' |
  while read -r file offset size url; do
    eval "file=\$$file"
    tail -c "+$((offset + 1))" "$file" | head -c "$size" |
      curl -sS --fail --retry 5 -X PUT -H Content-Type: --data-binary @- -K /dev/fd/3 3<<URL
url = "$url"
URL
  done
call POST "$api/backup/upload/$id/complete" >/dev/null
while state=$(call GET "$api/backup/runs/$id" | field state) &&
  [ "$state" = queued ] || [ "$state" = running ]; do sleep 1; done
echo "upload $id: $state"
[ "$state" = succeeded ]
