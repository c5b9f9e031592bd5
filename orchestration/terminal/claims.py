"""Words that several commands claim: each leads to one only, and which of them was there first no code can tell."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestration.commands.spec import CommandSpec
from orchestration.commands.vocabulary import CONTROLS, same_name


@dataclass(frozen=True)
class Claim:
    """A command, and where it is declared."""

    spec: CommandSpec
    place: str

    @property
    def words(self) -> tuple[str, ...]:
        """What it wants to be called."""
        return (self.spec.name, *self.spec.aliases)


def contested(claims: Sequence[Claim]) -> Iterator[tuple[str, str]]:
    """Yield place and text for each word of a command that is somebody else's, too."""
    controls = {same_name(word) for control in CONTROLS for word in (control.name, *control.aliases)}
    claimants = defaultdict[str, list[Claim]](list)
    for claim in claims:
        for word in {same_name(word) for word in claim.words}:
            claimants[word].append(claim)
    for claim in claims:
        for word in claim.words:
            said = f"{claim.spec.name}: the name {word} "
            if same_name(word) in controls:
                yield claim.place, f"{said}belongs to a control command; choose another"
            for other in claimants[same_name(word)]:
                if other is not claim:
                    theirs = f"/{other.spec.name} of {other.spec.location} ({other.place})"
                    yield claim.place, f"{said}is also claimed by {theirs}; it stays with who had it first: rename one"
