"""Task data sets (T1-T7): one module per task, and the machinery that they share."""
