"""The document library folder: scanning, packing, unpacking, swapping."""
