"""What the standard asks of reduced data: the rules as values (keywords.yaml, model.py) and the checks that apply them.

A check takes a product (product.py) and yields breaches (breach.py); it never raises for a bad file and reads no clock.
Which files are checked, in which processes, and how it is told: phase3.check, phase3.report, phase3.commands.
"""
