"""The ledger of claims: every number and testable sentence of the paper beside ours.

`verdicts` holds the rules, `scope` finds our numbers in the records, `bases` and `training` list
the claims (with base models, and with losses, epochs and times), `ledger` puts them together.
"""
