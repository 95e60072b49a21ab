"""The parts of tools.bench_store: flash, size, overload. Each returns figures and prints them as it goes."""
