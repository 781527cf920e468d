"""The benchmarks on an NVIDIA GPU: `python -m benchmarks --device cuda`. How they measure: docs/gpu-benchmarks.md."""
