"""The launcher as a program. See the package's docstring."""

import os
import sys

# The folder above names the package `launcher`. It comes last: no file of ours takes the place of
# a module of the standard library.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

TYPE_CHECKING = False
if TYPE_CHECKING:
    from turnlog.runtime.launcher.main import main
else:
    from launcher.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
