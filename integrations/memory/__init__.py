"""Long-term memory: recollections in Chroma, bounded by scope."""

from integrations.memory.store import Bounds, Memory
from integrations.memory.values import Note, Recollection, Scope

__all__ = ["Bounds", "Memory", "Note", "Recollection", "Scope"]
