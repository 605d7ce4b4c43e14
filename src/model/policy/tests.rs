//! What peers have found out about policies, row by row.
