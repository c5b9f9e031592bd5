"""Long-term memory: recollections in Chroma, bounded by scope."""
