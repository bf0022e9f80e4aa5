"""Models in files: nothing lost, nothing executed, every bit the same. FORMAT.md describes the file."""
