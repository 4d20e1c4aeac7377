"""Tables that others published: milliseconds, batch 4, context 512; figures alone."""

LAPTOP = """\
| Model Size | Context | Batch | Mean Time | CV% | Status |
|------------|---------|-------|-----------|-----|--------|
| small      | 512     | 4     | 308.03 ms | 5.79% |  |
| medium     | 512     | 4     | 928.49 ms | 1.01% |  |
| large      | 512     | 4     | 17.8 s    | 5.84% |  |
| xl         | 512     | 4     |           |       | OOM |
| 2.7B       | 512     | 4     |           |       | OOM |
"""
A100 = """\
size,Forward (ms),fwd+bwd (ms),with AdamW (ms)
small,45.3,134,153.9
medium,134,405,460.5
large,279,865,992.9
xl,561,"1,713",OOM
2.7B,840,"2,575",-
"""
H100 = """\
model,forward_ms,forward_backward_ms
small,15.9,38.9
medium,32.7,89.9
large,49.4,166
xl,81.4,282
2.7B,89.9,326
"""
B200 = """\
size,fwd_ms,fwd_bwd_ms,dtype
small,17.5,53.7,float32
medium,48.9,161,float32
large,108,338,float32
xl,306,901,float32
10B,952,2896,float32
small,,35.6,bfloat16
medium,,68.9,bfloat16
large,,117,bfloat16
xl,,199,bfloat16
"""
RTX_5090 = """\
size,fwd_ms,fwd_bwd_ms
small,18.1,61.3
medium,49.7,178
large,OOM,OOM
"""
