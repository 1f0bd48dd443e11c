"""Jobs that need all of the package: what scripts and notebooks call.

What one room does alone has its function there: ``mftscreen.screen.rank`` and
``mftscreen.finetune.tune``.
"""
