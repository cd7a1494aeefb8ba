"""Makes the reference pages from the code, so that no page can say something else.

`pages.py` has the list of pages. Each generator finds what it documents by importing it, and reads
a field's meaning from the comment after it. Sphinx calls this package through `docs/conf.py`.
"""
