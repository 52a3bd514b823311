"""`python -m lcp_backup_cli`, where no console script is installed."""

from lcp_backup_cli.app import main

main()
