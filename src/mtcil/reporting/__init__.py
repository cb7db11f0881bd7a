"""From records to numbers: statistics, tables, claims, and how figures look."""
