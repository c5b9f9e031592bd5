"""Who asks: what answers are made for."""

from dataclasses import dataclass

from integrations.messages import Address, Principal
from orchestration.commands.language import Language, pick


@dataclass(frozen=True)
class Asker:
    """Who asks, where, and in which language."""

    principal: Principal
    address: Address
    account: str
    direct: bool
    language: Language

    @property
    def is_admin(self) -> bool:
        """Whether they may see and stop what others run."""
        return "admin" in self.principal.roles

    def say(self, english: str, chinese: str) -> str:
        """Return the wording in their language."""
        return pick(self.language, english, chinese)
