#!/usr/bin/env python3
"""Reads a backup as docs/archive-format.md describes it, without any code of pg-backup.

    read_backup.py MANIFEST                   checks everything that the document says about a backup
    read_backup.py MANIFEST NAMESPACE TABLE   writes a table's rows, reading no more of the dump than they need

Differences from the document are reported on standard error, one per line, and the exit code is 1.
It needs Python, the package xxhash from PyPI and, for zstd dumps, the command zstd.
"""

import datetime
import gzip
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import zlib

import xxhash

FORMAT_VERSION = 1
EXTENSIONS = {"none": ".sql", "gzip": ".sql.gz", "zstd": ".sql.zst"}
FRAME_MAGIC, SEEK_FRAME_MAGIC, SEEK_TABLE_MAGIC = 0xFD2FB528, 0x184D2A5E, 0x8F92EAB1
GZIP_MAGIC_AND_DEFLATE = b"\x1f\x8b\x08"
ESCAPED_BYTES = 0x10FF00


class Damaged(Exception):
    """The backup differs so much from the document that it cannot be read further."""


class Findings:
    """A difference from the document."""

    def __init__(self):
        self.lines = []

    def expect(self, fine, what):
        if not fine:
            self.lines.append(what)

    def equal(self, found, promised, what):
        self.expect(found == promised, f"{what} is {found!r} and not {promised!r}")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def versioned(document, name):
    if "encryption" in document:
        raise Damaged(
            "the backup is encrypted, and this reader does not decrypt: `age -d -i IDENTITY` does, of the dump, of the"
            " table of contents, and of what is sealed in the manifest"
        )
    if document["format_version"] > FORMAT_VERSION:
        raise Damaged(f"{name} has format_version {document['format_version']}, known is {FORMAT_VERSION}")
    return document


def name_in_key(database):
    """A database's name as it is written in a key."""
    raw = database.encode()
    plain = re.compile(rb"[A-Za-z0-9_.~-]")
    escaped = ((i == 0 and byte == ord(".")) or not plain.match(raw[i : i + 1]) for i, byte in enumerate(raw))
    return "".join(f"%{byte:02X}" if escape else chr(byte) for byte, escape in zip(raw, escaped))


def name_bytes(name):
    """A name of the table of contents, as the bytes in the dump."""
    return b"".join(bytes([ord(c) - ESCAPED_BYTES]) if ord(c) >= ESCAPED_BYTES else c.encode() for c in name)


def turn(entry):
    """The pass over the entries, one of three, that writes its text."""
    if entry["desc"] in ("ACL", "DEFAULT ACL"):
        return 1
    on_event_trigger = entry["desc"] == "COMMENT" and entry["tag"].startswith("EVENT TRIGGER ")
    return 2 if entry["desc"] in ("EVENT TRIGGER", "MATERIALIZED VIEW DATA") or on_event_trigger else 0


def unpack(packing, packed):
    """The members in a range of the dump, each decompressed independently: pairs of compressed length and text."""
    if packing == "none":
        return [(len(packed), packed)]
    members = []
    while packed:
        if packing == "zstd":
            length = frame_length(packed)
            zstd = subprocess.run(["zstd", "-dcq"], input=packed[:length], capture_output=True, check=False)
            if zstd.returncode:
                raise Damaged(f"a member does not unpack: {zstd.stderr.decode().strip()}")
            text, rest = zstd.stdout, packed[length:]
        else:
            if packed[:8] != GZIP_MAGIC_AND_DEFLATE + bytes(5):
                raise Damaged(f"a member has the gzip header {packed[:8].hex()}, with flags or a time")
            inflate = zlib.decompressobj(wbits=31)
            try:
                text = inflate.decompress(packed)
            except zlib.error as error:
                raise Damaged(f"a member does not unpack: {error}") from error
            if not inflate.eof:
                raise Damaged("a member does not end")
            rest = inflate.unused_data
        members.append((len(packed) - len(rest), text))
        packed = rest
    return members


def frame_length(packed):
    """Length of the zstd frame at the beginning of `packed`; checks that its header is that of a member."""
    magic, descriptor = struct.unpack_from("<IB", packed.ljust(5, b"\0"))
    single_segment, checksum, dictionary = descriptor >> 5 & 1, descriptor >> 2 & 1, descriptor & 3
    size_flag = descriptor >> 6
    if magic != FRAME_MAGIC or not checksum or dictionary or not (single_segment or size_flag):
        raise Damaged(f"not a frame with its size and checksum and without a dictionary: {packed[:5].hex()}")
    position = 5 + (0 if single_segment else 1) + (single_segment, 2, 4, 8)[size_flag]
    while True:
        block = int.from_bytes(packed[position : position + 3], "little")
        kind, size = block >> 1 & 3, block >> 3
        position += 3 + (1 if kind == 1 else size)
        if position + 4 > len(packed):
            raise Damaged("a frame does not end")
        if block & 1:
            return position + 4


def crc64_nvme(data):
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x9A6C9329AC4BC9B5 if crc & 1 else 0)
        table.append(crc)
    crc = (1 << 64) - 1
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ ((1 << 64) - 1)


def digest(rows):
    return f"{sum(map(xxhash.xxh3_128_intdigest, rows)) % (1 << 128):032x}"


class Backup:
    """The three files; only the needed parts of the dump are read."""

    def __init__(self, manifest_path):
        self.directory, self.manifest_name = os.path.split(os.path.abspath(manifest_path))
        self.manifest_bytes = read(manifest_path)
        self.manifest = versioned(json.loads(self.manifest_bytes), "the manifest")
        self.toc_bytes = read(os.path.join(self.directory, self.manifest["toc"]["file"]))
        self.toc = versioned(json.loads(gzip.decompress(self.toc_bytes)), "the table of contents")
        self.dump_path = os.path.join(self.directory, self.manifest["dump"]["file"])
        self.packing = self.toc["compression"].partition(":")[0]

    def rows_of(self, namespace, name):
        """A table's rows in COPY's text format, from the members that contain them."""
        for entry in self.toc["entries"]:
            found = name_bytes(entry.get("namespace", "")), name_bytes(entry["tag"])
            if entry["desc"] == "TABLE DATA" and found == (namespace, name):
                first, number = entry["data"]["members"]
                text = b""
                with open(self.dump_path, "rb") as dump:
                    for offset, length, *_ in self.toc["members"][first : first + number]:
                        dump.seek(offset)
                        text += b"".join(part for _, part in unpack(self.packing, dump.read(length)))
                return text[: entry["data"]["raw"][1]]
        raise Damaged(f"there is no data of {namespace.decode()}.{name.decode()}")

    def check(self):
        """All findings; none for a sound backup."""
        findings = Findings()
        try:
            self.check_names(findings)
            self.check_manifest(findings)
            self.check_objects(findings)
            Text(self, findings).check()
        except Damaged as damage:
            findings.lines.append(str(damage))
        return findings.lines

    def check_names(self, findings):
        stem = self.manifest_name.removesuffix(".manifest.json")
        database = name_in_key(self.manifest["database"])
        begin = datetime.datetime.fromisoformat(self.manifest["started"].replace("Z", "+00:00"))
        parent, day = os.path.split(self.directory)
        writer = re.search(r"Z(-[0-9a-f]{8})?$", stem)
        findings.equal(stem, f"{database}-{begin:%Y-%m-%dT%H-%M-%SZ}{writer and writer[1] or ''}", "the manifest's stem")
        findings.equal(day, f"{begin:%Y-%m-%d}", "the directory of the day")
        findings.equal(os.path.basename(parent), database, "the directory of the database")
        findings.equal(self.manifest["dump"]["file"], stem + EXTENSIONS[self.packing], "the dump's name")
        findings.equal(self.manifest["toc"]["file"], stem + ".toc.json.gz", "the name of the table of contents")

    def check_manifest(self, findings):
        manifest, toc = self.manifest, self.toc
        findings.expect(self.manifest_bytes.endswith(b"}\n"), "the manifest does not end with a newline")
        for field in ("file", "compression", "size", "raw_size"):
            findings.equal(toc[field], manifest["dump"][field], f"the {field} in the table of contents")
        findings.equal(manifest["entries"], len(toc["entries"]), "the manifest's number of entries")
        tables = [
            {"dump_id": entry["id"], "namespace": entry["namespace"], "name": entry["tag"]}
            | {key: entry["data"][key] for key in ("rows", "digest") if key in entry["data"]}
            for entry in toc["entries"]
            if entry["desc"] == "TABLE DATA"
        ]
        findings.equal(manifest["tables"], tables, "the manifest's list of tables")
        snapshot = manifest["snapshot"]
        is_lsn = snapshot["lsn"] is None or re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", snapshot["lsn"])
        findings.expect(is_lsn, f"the snapshot's LSN is {snapshot['lsn']!r}")
        for time in (manifest["started"], manifest["finished"], snapshot["time"]):
            in_utc = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", time)
            findings.expect(in_utc, f"{time} is no time in UTC")
        started, finished = (manifest[moment].rstrip("Z") for moment in ("started", "finished"))
        findings.expect(started <= finished, "the dump ends before it begins")
        findings.expect(all(seconds >= 0 for seconds in manifest["durations"].values()), "a negative duration")
        for owner, fields in {"tool": ("name", "version"), "server": ("version", "version_num")}.items():
            findings.expect(all(manifest[owner].get(field) for field in fields), f"{owner} lacks one of {fields}")
        findings.expect(manifest["source_database"], "there is no source_database")

    def check_objects(self, findings):
        for what, data in (("dump", read(self.dump_path)), ("toc", self.toc_bytes)):
            promised = self.manifest[what]
            findings.equal(len(data), promised["size"], f"the size of the {what}")
            findings.equal(hashlib.sha256(data).hexdigest(), promised["sha256"], f"the SHA-256 of the {what}")
            if what == "dump":
                findings.equal(f"{crc64_nvme(data):016x}", promised["crc64nvme"], "the CRC-64/NVME of the dump")


class Text:
    """The decompressed dump, and its table of contents."""

    def __init__(self, backup, findings):
        self.toc, self.findings, self.dump = backup.toc, findings, read(backup.dump_path)
        self.packing, self.elements, self.text = backup.packing, backup.toc["members"], b""
        self.frames = []  # compressed and raw length of each member

    def at(self, span):
        return self.text[span[0] : span[0] + span[1]]

    def check(self):
        self.unpack()
        self.check_seek_table()
        spans = list(self.toc["frame"])
        holder = [None] * len(self.elements)
        self.check_checksums()
        self.check_order()
        self.check_database()
        self.check_frame()
        for entry in self.toc["entries"]:
            self.check_entry(entry)
            spans += entry.get("text", []) + [entry[key] for key in ("drop", "copy") if key in entry]
            if "data" in entry:
                self.check_data(entry, holder)
                spans.append(entry["data"]["raw"])
        for index, element in enumerate(self.elements):
            self.findings.expect(holder[index] or element[4] == 0, f"element {index} has rows of no table")
        self.check_cover(spans)

    def unpack(self):
        place = [0, 0]
        for index, (offset, length, raw_offset, raw_length, _) in enumerate(self.elements):
            self.findings.equal([offset, raw_offset], place, f"the place of element {index}")
            members = unpack(self.packing, self.dump[offset : offset + length])
            text = b"".join(part for _, part in members)
            self.findings.equal(len(text), raw_length, f"the length of element {index}")
            self.text += text
            self.frames += [(packed, len(part)) for packed, part in members]
            place = [offset + length, raw_offset + raw_length]
        self.findings.equal(place[1], self.toc["raw_size"], "the end of the members")
        self.findings.equal(len(self.text), self.toc["raw_size"], "the length of the text")
        self.rest = self.dump[place[0] :]

    def check_checksums(self):
        """Checksums of the members of an uncompressed dump; older backups have none."""
        checksums = self.toc.get("checksums", [])
        if not checksums:
            return
        self.findings.equal(self.packing, "none", "the packing of a dump with checksums")
        self.findings.equal(len(checksums), len(self.elements), "the number of checksums")
        for index, (element, checksum) in enumerate(zip(self.elements, checksums)):
            found = zlib.crc32(self.dump[element[0] : element[0] + element[1]])
            self.findings.equal(found, checksum, f"the CRC-32 of element {index}")

    def check_frame(self):
        """The frame begins the dump and consists of settings and comments; for a server's globals it is the whole text."""
        frame = self.toc["frame"]
        self.findings.expect(not self.text or frame and frame[0][0] == 0, "the frame does not begin the dump")
        if not (self.toc["entries"] or self.toc["database"]):
            return
        known = re.compile(rb"(SET |SELECT pg_catalog\.set_config\(|\\(un)?restrict |--(?! (Data for )?Name: ))|$")
        for span in frame:
            for line in self.at(span).split(b"\n"):
                self.findings.expect(known.match(line), f"the frame has the line {line!r}")

    def check_seek_table(self):
        if self.packing != "zstd":
            self.findings.equal(self.rest, b"", "what follows the last member")
            return
        table = b"".join(struct.pack("<II", *frame) for frame in self.frames)
        table += struct.pack("<IBI", len(self.frames), 0, SEEK_TABLE_MAGIC)
        seek_frame = struct.pack("<II", SEEK_FRAME_MAGIC, len(table)) + table
        self.findings.expect(self.rest == seek_frame, "the seek table does not list the frames")

    def check_order(self):
        entries = self.toc["entries"]
        place = {entry["id"]: index for index, entry in enumerate(entries)}
        self.findings.equal(len(place), len(entries), "the number of different dump ids")
        self.findings.expect(all(entry["id"] > 0 for entry in entries), "an id is not 1 or more")
        without_text = [entry["id"] for entry in entries if not entry.get("text")]
        if without_text:
            raise Damaged(f"entry {without_text[0]} has no text")
        in_passes = sorted(entries, key=turn)
        by_text = sorted(entries, key=lambda entry: entry["text"][0][0])
        ids = [[entry["id"] for entry in order] for order in (by_text, in_passes)]
        self.findings.equal(*ids, "the order of the entries' texts")
        for index, entry in enumerate(entries):
            late = [needed for needed in entry.get("dependencies", []) if place.get(needed, -1) >= index]
            self.findings.equal(late, [], f"what entry {entry['id']} depends on and does not follow")

    def check_database(self):
        texts = self.toc["database"]
        kinds = [re.match(r"CREATE DATABASE|ALTER (DATABASE|ROLE)|COMMENT ON|SECURITY LABEL|GRANT|REVOKE", text) for text in texts]
        sound = all(kinds) and all(text.endswith(";\n") for text in texts)
        self.findings.expect(sound, f"the statements of the database are {texts}")
        creations = [text.startswith("CREATE DATABASE ") for text in texts]
        self.findings.equal(creations, [True] * bool(texts or self.toc["entries"]) + [False] * (len(texts) - 1), "where the database is created")

    def check_entry(self, entry):
        name = f"entry {entry['id']} ({entry['desc']} {entry['tag']})"
        known = entry["section"] in ("none", "pre-data", "data", "post-data")
        self.findings.expect(known, f"the section of {name} is {entry['section']}")
        shown = [entry.get(field, "-") for field in ("tag", "desc", "namespace", "owner")]
        one_line = tuple(name_bytes(re.sub(r"[\r\n]", " ", text)) for text in shown)
        banner = b"Name: %s; Type: %s; Schema: %s; Owner: %s" % one_line
        settings, _, comment = self.at(entry["text"][0]).partition(b"--\n-- ")
        self.findings.expect(comment.removeprefix(b"Data for ").startswith(banner), f"the banner of {name} is missing")
        before = re.fullmatch(rb"(SET .*;\n\n)?", settings, re.S)
        self.findings.expect(before, f"before the banner of {name} stands {settings}")
        if "drop_statement" in entry:
            drop = entry["drop_statement"]
            form = r"(DROP|ALTER|CREATE OR REPLACE VIEW|SELECT pg_catalog.lo_unlink\(|-- \*not\*).*;?\n$"
            self.findings.expect(re.match(form, drop, re.S), f"the drop_statement of {name} is {drop!r}")
        if "drop" in entry:
            drop = self.at(entry["drop"])
            self.findings.expect(re.match(rb"(DROP|ALTER) .*;\n$", drop, re.S), f"the drop of {name} is {drop!r}")
        if "copy" in entry:
            copy = self.at(entry["copy"])
            self.findings.expect(re.match(rb"COPY .* FROM stdin;\n$", copy, re.S), f"the copy of {name} is {copy!r}")
            self.findings.equal(copy, name_bytes(entry["copy_statement"]), f"the copy of {name}")
        holds_data = entry["desc"] in ("TABLE DATA", "BLOBS")
        self.findings.equal("data" in entry, holds_data, f"whether there is data of {name}")

    def check_data(self, entry, holder):
        name, data = f"{entry['desc']} {entry.get('namespace')}.{entry['tag']}", entry["data"]
        (offset, length), (first, number) = data["raw"], data["members"]
        end, elements = offset + length, self.elements[first : first + number]
        rows = sum(element[4] for element in elements)
        self.findings.equal(rows, data["rows"], f"{name}: the sum of its members' rows")
        if elements:
            self.findings.equal(elements[0][2], offset, f"{name}: the beginning of its first member")
            ends_in_last = elements[-1][2] < end <= sum(elements[-1][2:4])
            self.findings.expect(ends_in_last, f"{name}: the rows do not end in its last member")
        else:
            self.findings.equal((length, first, number), (0, 0, 0), f"{name}: a table without rows")
        for index in range(first, first + number):
            self.findings.expect(not holder[index], f"element {index} has rows of {name} and of {holder[index]}")
            holder[index] = name
        for index, element in enumerate(elements, first):
            part = self.text[element[2] : min(element[2] + element[3], end)]
            self.findings.expect(part.endswith(b"\n"), f"{name}: element {index} ends inside a row")
            if data["format"] == "copy":
                self.findings.equal(part.count(b"\n"), element[4], f"{name}: the rows of element {index}")
        if entry["desc"] == "BLOBS":
            opened = len(re.findall(rb"^SELECT pg_catalog.lo_open\(", self.at(data["raw"]), re.M))
            self.findings.equal(opened, data["rows"], "the number of large objects")
        if data["format"] == "copy":
            self.check_rows(name, entry)

    def check_rows(self, name, entry):
        data = entry["data"]
        end = sum(data["raw"])
        rows = self.at(data["raw"]).split(b"\n")
        self.findings.equal(rows.pop(), b"", f"{name}: what follows the last row")
        self.findings.equal(len(rows), data["rows"], f"{name}: the number of its rows")
        self.findings.equal(digest(rows), data["digest"], f"{name}: the digest of its rows")
        self.findings.equal(sum(entry["copy"]), data["raw"][0], f"{name}: the end of its COPY statement")
        self.findings.equal(self.text[end : end + 5], b"\\.\n\n\n", f"{name}: the end mark")
        places = [[sum(span) for span in entry["text"][:1]], entry["text"][1:]]
        self.findings.equal(places, [[entry["copy"][0]], [[end, 5]]], f"{name}: the text around its rows")

    def check_cover(self, spans):
        """Every byte of the text is in exactly one span."""
        place = 0
        for offset, length in sorted(spans):
            self.findings.equal(offset, place, "the beginning of a span where another ends")
            place = offset + length
        self.findings.equal(place, len(self.text), "the end of the last span")


def main(arguments):
    try:
        backup = Backup(arguments[0])
        if len(arguments) == 3:
            sys.stdout.buffer.write(backup.rows_of(*map(os.fsencode, arguments[1:])))
            return 0
        findings = backup.check()
    except (Damaged, LookupError, OSError, EOFError, ValueError, zlib.error) as error:
        findings = [f"{type(error).__name__}: {error}"]
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
