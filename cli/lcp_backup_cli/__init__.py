"""The command line of LCP Backup. It speaks HTTP, and knows nothing of the service's code."""

VERSION = "0.1.0"
