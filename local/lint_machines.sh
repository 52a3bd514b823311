#!/bin/sh
# Lints the definitions of state machines, which neither SAM nor the emulator looks into; there may be
# none. A lint that finds nothing must have been able to: it has to refuse a bad one first.
set -eu
cd "$(dirname "$0")/.."
validator=.local/asl-validator/node_modules/.bin/asl-validator
if $validator --json-path local/asl-validator/bad.asl.json >/dev/null 2>&1; then
  echo "asl-validator takes local/asl-validator/bad.asl.json, in which a state leads nowhere" >&2
  exit 1
fi
for definition in functions/*/*.asl.json; do
  [ ! -e "$definition" ] || $validator --json-path "$definition"
done
