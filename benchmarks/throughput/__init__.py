"""Throughput: what `loader_throughput.py` measures, one question a file; nothing here prints."""
