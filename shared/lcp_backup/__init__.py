"""Backup service for Liferay DXP sites: database and document library to S3 and back."""
