"""The HTTP front of the service: thin routes over the catalog, and checks in front of them."""
