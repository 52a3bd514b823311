"""The HTTP front of the service: thin routes over the catalog, and doors in front of them."""
