"""Segmented `.tgz` archives: written by all cores, in order; read back checked."""
