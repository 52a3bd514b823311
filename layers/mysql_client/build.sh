#!/bin/sh
# Copies each dump program found on PATH into $1/bin, and its shared libraries, except the C library's own, into $1/lib.
set -eu
out=$1
mkdir -p "$out/bin" "$out/lib/plugin"
found=
for program in mariadb-dump mysqldump; do
  path=$(command -v "$program") || continue
  path=$(readlink -f "$path")
  # Debian's mysqldump is a link to mariadb-dump; one copy is enough.
  name=$(basename "$path")
  found="$found $name"
  cp -L "$path" "$out/bin/$name"
  ldd "$path" | awk '$3 ~ /^\// { print $3 }' | while read -r library; do
    case $(basename "$library") in
      libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libresolv.so.*) ;;
      *) cp -L "$library" "$out/lib/" ;;
    esac
  done
done
if [ -z "$found" ]; then
  echo "no mariadb-dump or mysqldump on this machine: install mariadb-client (apt) or mariadb105 (dnf), then build again" >&2
  exit 1
fi
for folder in /usr/lib/*-linux-gnu/libmariadb3/plugin /usr/lib64/mariadb/plugin; do
  [ -d "$folder" ] || continue
  for plugin in caching_sha2_password sha256_password mysql_clear_password dialog client_ed25519; do
    [ -f "$folder/$plugin.so" ] && cp -L "$folder/$plugin.so" "$out/lib/plugin/"
  done
done
echo "client layer:$found, $(du -sh "$out" | cut -f1)"
