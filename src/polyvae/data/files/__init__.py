"""Files that a kill leaves whole: written beside and renamed, with a digest, kept by what they were made of."""
