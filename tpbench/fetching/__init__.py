"""Videos of an id list onto this disk, with what became of each of them."""
