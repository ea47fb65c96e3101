"""Where the bytes lie: keys and checksums, no astronomy. Stands alone; imports nothing of ours."""
