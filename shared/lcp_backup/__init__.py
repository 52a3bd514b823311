"""Backup service for Liferay DXP sites: database and document library to S3 and back."""

VERSION = "0.1.0"
"""What manifests say made them; the same as in pyproject.toml."""
