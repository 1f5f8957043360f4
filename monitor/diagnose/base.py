"""What diagnose gives back, and the line its tables are made of."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from config.causes import Cause
from monitor.probes.base import Outcome, Sight, Verdict
from monitor.ways import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the evidence of one outcome proves, in one sentence, and what to do next. Holds no secret."""

    cause: Cause
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of a table: what must have been seen, what that proves, and what to say and do about it.

    Every condition that is set must hold; `text` is a regular expression looked for in the evidence's text, whatever
    its case. `proof` says the conditions in words, for docs/reference/causes.md. `says` is a sentence in which
    {title}, {address}, {code} and {setting} are filled in (in a rule with `findings`, what the look at the ways to it
    found, {speech}, {usual_port} and {others} too; of a key, {provider}); {where} are those variables of {setting} that
    hold the address, for a cause that names a key and means the place. `remedy` is one line of steps in the order to
    try them. A `precise` rule knows more than the cause: its remedy goes before the service's own, which knows the
    cause alone. `not_for` are kinds of service it does not speak about.
    """

    cause: Cause
    proof: str
    says: str
    remedy: str
    verdict: Verdict | None = None
    sights: Collection[Sight] = ()
    codes: Collection[str] = ()
    signs: Collection[str] = ()
    findings: Collection[Finding] = ()
    text: str = ""
    precise: bool = False
    not_for: Collection[str] = ()

    def holds(self, outcome: Outcome) -> bool:
        """Whether this outcome shows everything the rule asks for."""
        evidence = outcome.evidence
        return (
            (self.verdict is None or outcome.verdict == self.verdict)
            and (not self.sights or evidence.sight in self.sights)
            and (not self.codes or evidence.code in self.codes)
            and (not self.signs or evidence.sign in self.signs)
            and (
                not self.findings
                or (evidence.network is not None and bool(evidence.network.findings & {*self.findings}))
            )
            and (not self.text or re.search(self.text, evidence.text, re.IGNORECASE) is not None)
        )
