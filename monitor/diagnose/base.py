"""What diagnose gives back."""

from dataclasses import dataclass

from config.causes import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the evidence of one outcome proves, in one sentence, and what to do next. Holds no secret."""

    cause: Cause
    sentence: str
    remedy: str
