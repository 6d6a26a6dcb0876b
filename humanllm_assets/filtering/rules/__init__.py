"""The rules of each source, one module each."""
