"""The benchmark harness: real processes side by side on one machine; see docs/how-to/benchmarks.md."""
