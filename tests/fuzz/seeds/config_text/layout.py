# -*- coding: utf-8 -*-
a = dict(
    b=1,  # one
    c=[
        1,
        2
    ],
)
if True:
    x = 1; y = \
        2
    if x:
        z = 'é\u00e9\x41\N{BULLET}\n\'' """
  long
"""
else:
	pass
globals()['t-1'] = {1: 2, 1.5: 3, (1, 'a'): 4, None: 5, True: 6, -1: {}}
__all__ = ['a']
custom_imports = dict(imports=['a.b'], allow_failed_imports=False)
