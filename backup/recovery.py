"""RECOVERY.md: how to restore one point with other people's tools, written beside it and rendered from its manifest."""

import shlex
from collections.abc import Iterator

from backup.manifest import MANIFEST, Artifact, Manifest
from config.backup_store import StoreSettings


def render(manifest: Manifest, store: StoreSettings, clickhouse_endpoint: str | None = None) -> str:
    """The page: what is in the point, and commands for bash that need nothing of ours. Holds no secret.

    `clickhouse_endpoint` is the store's URL as ClickHouse reaches it, None where it is the same as ours.
    """
    return "\n".join(_lines(manifest, store, clickhouse_endpoint or _endpoint(store))) + "\n"


def _lines(manifest: Manifest, store: StoreSettings, clickhouse_endpoint: str) -> Iterator[str]:
    postgres = [one for one in manifest.whole() if one.engine == "postgres"]
    clickhouse = [one for one in manifest.whole() if one.engine == "clickhouse"]
    sealed = any(one.recipients for one in manifest.whole())
    yield f"# Restore point {manifest.id}"
    yield ""
    yield f"Of {manifest.source}, taken {manifest.created_at}."
    yield f"With Watchkeeper: `python -m backup restore {manifest.id}`. Without it, in bash, step by step:"
    yield ""
    yield "| what | bytes stored | server | state |"
    yield "|---|---|---|---|"
    for one in manifest.artifacts:
        name = _comment(one.label).replace("|", "\\|").replace("`", "'")
        yield f"| `{name}` | {one.stored_bytes} | {one.server} | {one.status} |"
    yield ""
    if manifest.fingerprints:
        names = ", ".join(f"`{name}`" for name in manifest.fingerprints)
        yield f"The rows need the keys that were set when it was taken: {names}."
        yield ""
    if postgres:
        yield from _download(manifest, store)
        yield from _check()
        yield from _unpack(postgres, sealed=sealed)
        yield from _restore_postgres(postgres)
    if clickhouse:
        bucket = _bucket_url(clickhouse_endpoint, store)
        yield from _restore_clickhouse(clickhouse, f"{bucket}/{store.prefix}/{manifest.source}/{manifest.id}")


def _download(manifest: Manifest, store: StoreSettings) -> Iterator[str]:
    yield "## Download"
    yield ""
    if store.folder is not None:
        folder = store.folder.absolute() / store.prefix / manifest.source / manifest.id
        yield from _bash(f"cp -r {shlex.quote(str(folder))} point", "cd point")
        return
    place = f"{store.bucket}/{store.prefix}/{manifest.source}/{manifest.id}"
    yield "With rclone, or with mc:"
    yield ""
    yield from _bash(
        *_credentials(),
        "export RCLONE_CONFIG_STORE_TYPE=s3 RCLONE_CONFIG_STORE_PROVIDER=Other",
        f"export RCLONE_CONFIG_STORE_ENDPOINT={shlex.quote(_endpoint(store))}",
        f"export RCLONE_CONFIG_STORE_FORCE_PATH_STYLE={'false' if store.virtual_host else 'true'}",
        *([f"export RCLONE_CONFIG_STORE_REGION={shlex.quote(store.region)}"] if store.region else ()),
        'export RCLONE_CONFIG_STORE_ACCESS_KEY_ID="$ACCESS_KEY" RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY="$SECRET_KEY"',
        f"rclone copy {shlex.quote('store:' + place)} point",
        "cd point",
    )
    yield from _bash(
        *_credentials(),
        f'mc alias set store {shlex.quote(_endpoint(store))} "$ACCESS_KEY" "$SECRET_KEY"',
        f"mc cp --recursive {shlex.quote('store/' + place + '/')} point/",
        "cd point",
    )


def _check() -> Iterator[str]:
    yield "## Check that every byte is there"
    yield ""
    listed = """awk -F'"' '$2 == "key" {key = $4} $2 == "sha256" && key {print $4 "  " key; key = ""}' """
    yield from _bash(f"{listed}{MANIFEST} | sha256sum --check --quiet")


def _unpack(artifacts: list[Artifact], *, sealed: bool) -> Iterator[str]:
    yield "## Unpack"
    yield ""
    if sealed:
        yield "`key.txt` holds the secret key (AGE-SECRET-KEY-1…) of one of these recipients:"
        for recipient in sorted({recipient for one in artifacts for recipient in one.recipients}):
            yield f"`{recipient}`"
        yield ""
    commands = []
    for number, one in enumerate(artifacts):
        folder = shlex.quote(one.pieces[0].key.rpartition("/")[0])
        pieces = (
            f'for piece in {folder}/*; do age -d -i key.txt "$piece"; done' if one.recipients else f"cat {folder}/*"
        )
        commands.append(f"{pieces} | zstd -d > {_file(number, one)}")
    yield from _bash("set -o pipefail", *commands)
    yield "Their SHA-256:"
    yield ""
    yield from _bash(
        "sha256sum --check <<'END'",
        *(f"{one.sha256}  {_file(number, one)}" for number, one in enumerate(artifacts)),
        "END",
    )


def _restore_postgres(artifacts: list[Artifact]) -> Iterator[str]:
    newest = max((one.tool.rpartition(" ")[2] for one in artifacts), key=_major, default="")
    yield "## Restore PostgreSQL"
    yield ""
    yield f"The server and pg_restore must be of version {_major(newest)} or newer, with these extensions' files:"
    found = sorted({f"{name} {version}" for one in artifacts for name, version in one.extensions.items()})
    yield f"{', '.join(found) or 'none'}. Name the server; a role that exists already is an error that can be ignored."
    yield ""
    commands = ["export PGHOST=localhost PGPORT=5432 PGUSER=postgres PGPASSWORD=..."]
    numbered = list(enumerate(artifacts))
    commands += [f"psql -X -d postgres -f {_file(n, one)}" for n, one in numbered if one.kind == "globals"]
    # The database postgres is there on every server, so that it is filled and not made.
    for n, one in numbered:
        if one.kind == "database":
            create = "" if one.name == "postgres" else "--create "
            file = f"{_file(n, one)}  # {_comment(one.name)}"
            commands.append(f"pg_restore {create}--exit-on-error --jobs=2 -d postgres {file}")
    yield from _bash(*commands)
    yield "To restore one beside the database that exists, under another name:"
    yield ""
    for number, one in numbered:
        if one.kind == "database":
            yield from _bash(
                "createdb -T template0 restored",
                f"pg_restore --exit-on-error --jobs=2 -d restored {_file(number, one)}  # {_comment(one.name)}",
            )
            return


def _restore_clickhouse(artifacts: list[Artifact], url: str) -> Iterator[str]:
    yield "## Restore ClickHouse"
    yield ""
    yield "ClickHouse reads the store itself, so the address must be one that it reaches. It is not sealed by age."
    yield "A database that exists must be empty, or be restored beside it: `RESTORE DATABASE a AS b FROM …`."
    yield ""
    commands = []
    for one in artifacts:
        what = one.detail.get("what") or f"DATABASE {_backticked(one.name)}"
        query = (
            f"RESTORE {what} FROM S3('{url}/{one.detail.get('folder', 'clickhouse')}', '$ACCESS_KEY', '$SECRET_KEY')"
        )
        commands.append(f'clickhouse-client --host localhost --query "{_in_double_quotes(query)}"')
    yield from _bash(*_credentials(), *commands)


def _bash(*commands: str) -> Iterator[str]:
    yield "```bash"
    yield from commands
    yield "```"
    yield ""


def _credentials() -> list[str]:
    return ["ACCESS_KEY=... SECRET_KEY=..."]


def _endpoint(store: StoreSettings) -> str:
    return f"{'https' if store.secure else 'http'}://{store.endpoint}"


def _bucket_url(endpoint: str, store: StoreSettings) -> str:
    scheme, _, place = endpoint.rstrip("/").partition("://")
    return f"{scheme}://{store.bucket}.{place}" if store.virtual_host else f"{scheme}://{place}/{store.bucket}"


def _file(number: int, artifact: Artifact) -> str:
    """A name without anything a shell would take for more than a name; the number tells alike ones apart."""
    plain = "".join(one if one.isascii() and (one.isalnum() or one in "_-") else "_" for one in artifact.name)
    return f"{number}-{plain[:60]}.{'sql' if artifact.kind == 'globals' else 'dump'}"


def _comment(text: str) -> str:
    """In one line, without what a terminal would take for more than text."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _major(version: str) -> int:
    digits = version.partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def _backticked(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`").replace("\n", "\\n") + "`"


def _in_double_quotes(text: str) -> str:
    """For bash: only our two variables are filled in."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$", "\\$")
    return escaped.replace("\\$ACCESS_KEY", "$ACCESS_KEY").replace("\\$SECRET_KEY", "$SECRET_KEY")
