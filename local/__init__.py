"""The embedded stack: a private MariaDB, an AWS emulator and a sample site, for demo and tests."""
