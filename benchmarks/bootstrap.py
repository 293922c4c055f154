"""Lambda's bootstrap for `starting.py`: the function, its layer, then the runtime's own packages, as AWS has
them.

Run by a bare interpreter with four arguments: the function's folder, the layer's (or an empty text), the
runtime's, and the handler.
"""

import sys

task, layer, runtime, handler = sys.argv[1:]
sys.path[0:1] = [each for each in (task, layer) if each]
sys.path.append(runtime)

from awslambdaric.__main__ import main  # noqa: E402 - only now it is to be found

main(["bootstrap", handler])
