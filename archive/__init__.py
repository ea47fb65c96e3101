"""What every room stands on: the sky in SQL, the holdings, who may see them, the VO's grammar."""
