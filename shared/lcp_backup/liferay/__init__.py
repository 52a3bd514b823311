"""Where Liferay keeps the files of its documents, and whether rows and files agree."""
