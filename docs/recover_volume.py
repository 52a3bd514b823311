"""Recovers a volume without the service, from all archives in which it lies.

    python3 recover_volume.py s3://<bucket>/<prefix>/backups/<id> <existing folder> [<path> ...]

Paths are files or folders of the volume; none is all. Needs the AWS CLI, GNU tar, root for owners.
Every SHA-256 is checked: a file in a damaged segment is named; it is missing, or has zeros there.
"""

import base64, collections, gzip, hashlib, json, os, shutil, subprocess, sys, tempfile  # fmt: skip

url, folder, *paths = sys.argv[1:] if sys.argv[2:] else sys.exit(__doc__)
os.path.isdir(folder) or sys.exit(f"there is no folder {folder!r}: make it first")
all(map(shutil.which, ("aws", "tar"))) or sys.exit("aws and tar must be on the PATH: install them")
bucket, _, key = url.rstrip("/")[len("s3://") :].partition("/")
backups, _, own = key.rpartition("/")


def fetch(backup, name, *span):
    with tempfile.TemporaryDirectory() as there:
        where = ["--bucket", bucket, "--key", f"{backups}/{backup}/{name}", *span, f"{there}/x"]
        subprocess.run(["aws", "s3api", "get-object", *where], stdout=subprocess.DEVNULL)
        return open(f"{there}/x", "rb").read() if os.path.exists(f"{there}/x") else b""


begin, segments = collections.defaultdict(list), collections.defaultdict(list)
index = fetch(own, "volume.index") or sys.exit(f"{url} cannot be read: is there such a backup?")
header, *lines = map(json.loads, gzip.decompress(index).splitlines())
lost, missing, left, end, archives = set(), set(paths), 0, 0, [own, *header.get("sources", [])]
for line in lines[:-1]:
    if "offset" in line:  # a segment; those of its own archive are not numbered
        mine = segments[line.get("source", 0)]
        mine.append((line.get("number", len(mine)), line))
        continue
    for name, _, source, segment, at, size, *_, more in (it[:14] for it in line["members"]):
        name = name if isinstance(name, str) else os.fsdecode(base64.b64decode(name["base64"]))
        found = [path for path in paths if f"{name}/".startswith(path.strip("/") + "/")]
        for number in range(segment, segment + more + 1) if found or not paths else ():
            begin[source, number] += [(at, size, name)] if number == segment else []
        missing.difference_update(found)
tar = subprocess.Popen(["tar", "-xp", "--delay-directory-restore", "-C", folder], stdin=-1)
for source in [*range(1, len(archives)), 0]:  # its own archive, with all folders, comes last
    needed = sorted(it for it in segments[source] if (source, it[0]) in begin)
    for place, (number, it) in enumerate(needed):
        if place == 0 or it["offset"] >= end:  # fetches up to 256 MiB, with what lies between
            low = it["offset"]
            end = max(s["offset"] + s["size"] for _, s in needed if 0 <= s["offset"] - low < 2**28)
            data = fetch(archives[source], "volume.tgz", "--range", f"bytes={low}-{end - 1}")
        raw = data[it["offset"] - low :][: it["size"]]
        intact = hashlib.sha256(raw).hexdigest() == it["sha256"]
        raw = gzip.decompress(raw) if intact else bytes(it["raw_size"])
        intact or lost.update([name] if left else [], (it[2] for it in begin[source, number]))
        left -= tar.stdin.write(raw[:left])  # of the file that began before
        for at, size, name in sorted(begin[source, number] if intact else []):
            # An extended header may stand in front of the header, for what that cannot say.
            pax = int(raw[at + 124 : at + 135], 8) if raw[at + 156 : at + 157] == b"x" else -512
            left = 1024 + pax + -pax % 512 + size + -size % 512
            left -= tar.stdin.write(raw[at : at + left])
tar.communicate(bytes(1024))
print(*("damaged: " + ascii(name) for name in sorted(lost)), sep="\n", end="\n" * bool(lost))
sys.exit(f"the volume holds nothing named {missing}" if missing else tar.returncode or bool(lost))
