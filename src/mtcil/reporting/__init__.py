"""From records to results: statistics, tables, claims, and the style of figures."""
