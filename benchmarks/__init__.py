"""What the service costs, measured: `make bench` runs it all and writes docs/performance.md."""
