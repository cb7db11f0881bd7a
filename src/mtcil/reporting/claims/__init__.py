"""The ledger of claims: every number and testable sentence of the paper beside ours.

`verdicts` holds the rules, `scope` finds our numbers in the records, `bases`, `training` and
`others` list the claims (with base models; with losses, epochs and times; with other methods),
`ledger` puts them together.
"""
