"""The forward flow: one restore point, from the lease to the manifest."""

from dataclasses import dataclass

from backup.manifest import Artifact, Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a run ended. `manifest` is None when nothing was whole, so nothing is listed.

    `errors` says in one line each what failed, with its remedy and without a secret; `seconds` is wall time.
    """

    point: str
    artifacts: tuple[Artifact, ...]
    manifest: Manifest | None
    errors: tuple[str, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 when every artifact is whole, else 1."""
        return 0 if self.manifest is not None and not self.errors else 1
