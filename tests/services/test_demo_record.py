"""Recording anew gives what is kept, so that a diff shows what a new version of a server does differently."""

from pathlib import Path

from demo.record import main
from demo.recorders.book import FOLDER


def test_recording_valkey_again_changes_nothing(tmp_path: Path) -> None:
    assert main(["--only", "valkey", "--into", str(tmp_path)]) == 0
    anew = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.glob("*/*.json")}
    kept = {str(path.relative_to(FOLDER)): path.read_text() for path in FOLDER.glob("valkey-*/*.json")}
    assert anew == kept, "what Valkey says has changed: make record ARGS='--only valkey', then see what the tests say"
