#!/bin/sh
''':'
# To a shell these are commands, to Python a text: both run `ringway db-ready`.
exec ringway db-ready "$@"
'''
import os
import sys

os.execvp("ringway", ["ringway", "db-ready", *sys.argv[1:]])
# For the shell, what stands above is a text too, which ends here: '
