"""Short names of kernels: what a person reads in a table, unique among the kernels of a trace.

`demangle.py` reads mangled names, `forms.py` takes C++ names apart. What a kernel is called is decided by rules: the
files `general.py` and `plain.py` say which, `pytorch.py`, `gemms.py`, `vendors.py`, `attention.py` and `triton.py` have
them. `unique.py` adds what tells apart those that would be called the same.
"""
