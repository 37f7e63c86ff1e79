"""`python run_module.py DIRECTORY MODULE ARGUMENTS...`: runs a module of a source tree, as -m does.

PYTHONPATH would not do: isolated build environments drop what an installed metalgen put there too.
"""

import runpy
import sys

directory, module, *arguments = sys.argv[1:]
sys.path.insert(0, directory)
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
