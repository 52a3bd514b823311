#!/bin/sh
# Uploads a backup of any size in parts, and waits until it is taken in. Needs curl and jq.
#   LCP_USER=user@domain.com:password sh upload.sh https://<HOST-NAME> database.tgz volume.tgz
# Neither the password nor a signed URL is on a command line, where others of the machine see it.
set -eu
[ $# = 3 ] || { echo 'usage: LCP_USER=user@domain.com:password sh upload.sh <ApiUrl> <database> <volume>' >&2; exit 2; }
case ${LCP_USER-} in *?:?*) ;; *) echo 'LCP_USER: set it to name:password of an admin' >&2; exit 2 ;; esac
for file in "$2" "$3"; do [ -s "$file" ] || { echo "$file is no file, or it is empty" >&2; exit 2; }; done
api=$1 database=$2 volume=$3 before=
# What fails says why: the API as problem+json, API Gateway in a form of its own, or not at all. What may pass (429, 502, 503, 504)
# is tried again where that does nothing twice; into a file, since curl empties that before it does.
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
call() {
  case $1 in GET) again=5 ;; *) again=0 ;; esac
  : >"$answer"
  jq -rn '"user = \(env.LCP_USER | @json)"' | curl -sS --fail-with-body --retry $again -o "$answer" -K - -X "$@" || {
    why=$(jq -r '.detail // .message // empty' "$answer" 2>/dev/null) || why=$(cat "$answer")
    echo "$1 $2: ${why:-no reason is given}" >&2
    return 1
  }
  cat "$answer"
}
size() { echo "{\"size\": $(wc -c <"$1")}"; }
plan=$(call POST "$api/backup/upload" -H 'Content-Type: application/json' \
  -d "{\"database\": $(size "$database"), \"volume\": $(size "$volume")}")
id=$(printf %s "$plan" | jq -r .upload_id)
# A part that fails (its URL lives for 15 minutes) is sent again by a fresh URL, while any get through.
while missing=$(printf %s "$plan" | jq -r '{database, volume} | to_entries[] | .key as $file | .value
    | (select(.url) | .offset = 0), .parts[] | select(.arrived | not) | "\($file) \(.offset) \(.size) \(.url)"')
  left=$(printf %s "$missing" | grep -c http) && [ "$left" != "$before" ]; do
  before=$left
  printf '%s\n' "$missing" | while read -r file offset size url; do
    eval "tail -c +$((offset + 1)) \"\$$file\"" | head -c "$size" |
      curl -sS --fail --retry 5 -X PUT -H Content-Type: --data-binary @- -K /dev/fd/3 3<<URL || break
url = "$url"
URL
  done
  plan=$(call GET "$api/backup/upload/$id")
done
call POST "$api/backup/upload/$id/complete" >/dev/null
while state=$(call GET "$api/backup/runs/$id" | jq -r .state) &&
  [ "$state" = queued ] || [ "$state" = running ]; do sleep 1; done
why=$(jq -r '.error.message // empty' "$answer")
echo "upload $id: $state${why:+: $why}"
[ "$state" = succeeded ]
