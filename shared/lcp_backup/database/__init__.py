"""The MySQL or MariaDB database: where it is, dumping it, cutting a dump, loading it."""
