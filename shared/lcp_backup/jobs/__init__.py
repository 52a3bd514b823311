"""The use cases: create, restore, cleanup; each readable from top to bottom."""
