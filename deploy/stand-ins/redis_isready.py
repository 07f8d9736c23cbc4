#!/bin/sh
''':'
# To a shell these are commands, to Python a text: both run `ringway redis-ready`.
exec ringway redis-ready "$@"
'''
import os
import sys

os.execvp("ringway", ["ringway", "redis-ready", *sys.argv[1:]])
# For the shell, what stands above is a text too, which ends here: '
