"""The ledger of claims: every number and testable sentence of the paper, compared with ours.

`verdicts` has the rules; `scope` finds our numbers in the records; `bases`, `training` and
`others` list the claims (about base models; losses, epochs and times; other methods);
`ledger` combines them.
"""
