"""The launcher as a program. See the package's own words, in `__init__.py`."""

import os
import sys

# Python has put this folder first. The one above it, last, names the package `launcher`, and no
# file of ours takes the place of a module of the standard library.
sys.path.append(os.path.dirname(sys.path.pop(0)))

TYPE_CHECKING = False
if TYPE_CHECKING:
    from turnlog.runtime.launcher.main import main
else:
    from launcher.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
