"""Policies: one decision rule a file; ``registry`` holds the table of them, ``base`` what each may say of itself."""

from filterloader.policies.registry import *  # noqa: F403 (whatever the table holds)
